"""Send a notification: the example of FastAPI's documentation of background tasks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Query
from pydantic import BaseModel, EmailStr

from app import durable, mail
from app.log import logger

router = APIRouter()

Text = Annotated[str | None, Query(max_length=1000)]


class Sent(BaseModel):
    """The answer: the notification was accepted."""

    message: str = "Message sent"


def write_log(message: str) -> None:
    """Record a message in the application's log."""
    logger.info(message)


@durable.durable(attempts=5, timeout=60, when=mail.configured)
def write_notification(email: str, message: str = "") -> None:
    """Notify ``email``: by a record, and by e-mail where there is a server to send it with."""
    logger.info("notification for %s: %s", email, message)
    if mail.configured():
        task_id = durable.task_id.get()
        mail.send(to=email, subject="Notification", text=message, message_id=task_id)


async def get_query(background_tasks: BackgroundTasks, q: Text = None) -> str | None:
    """Record the query, before the path operation's own tasks."""
    if q:
        background_tasks.add_task(write_log, f"found query: {q}")
    return q


@router.post("/send-notification/{email}")
async def send_notification(
    email: EmailStr,
    background_tasks: BackgroundTasks,
    q: Annotated[str | None, Depends(get_query)],  # noqa: ARG001 - its task is what counts
    message: Text = None,
) -> Sent:
    """Answer at once; the records are written behind the answer."""
    background_tasks.add_task(write_log, f"message to {email}")
    if message:
        background_tasks.add_task(write_notification, email, message=message)
    return Sent()
