"""Send a notification: the example of FastAPI's documentation of background tasks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Query
from pydantic import BaseModel, EmailStr

from app.log import logger

router = APIRouter()

Text = Annotated[str | None, Query(max_length=1000)]


class Sent(BaseModel):
    """The answer: the notification was accepted."""

    message: str = "Message sent"


def write_log(message: str) -> None:
    """Record a message in the application's log."""
    logger.info(message)


def write_notification(email: str, message: str = "") -> None:
    """Notify ``email``; a plain function with a keyword argument, run in a thread."""
    logger.info("notification for %s: %s", email, message)


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
