"""GET /tasks/{id}: what became of a durable task."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol, cast

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel

RETRY_AFTER_SECONDS = 2

router = APIRouter()


class TaskView(BaseModel):
    """A durable task as its client sees it."""

    id: str
    function: str
    status: Literal["QUEUED", "RUNNING", "SUCCEEDED", "FAILED"]
    attempts: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    result: Any
    error: str | None


class Tasks(Protocol):
    """Where durable tasks are kept."""

    async def view(self, task_id: str) -> dict[str, Any] | None:
        """Return what TaskView shows of a task; None when there is no such task."""


def tasks(request: Request) -> Tasks:
    """Return where durable tasks are kept; 503 where the application runs without it."""
    kept = getattr(request.state, "tasks", None)
    if kept is None:
        raise HTTPException(503, "durable tasks are not kept here; `make run` keeps them")
    return cast("Tasks", kept)


@router.get("/tasks/{task_id}", responses={404: {"description": "There is no such task"}})
async def task(
    task_id: str, response: Response, kept: Annotated[Tasks, Depends(tasks)]
) -> TaskView:
    """Show a durable task; ``Retry-After`` says when to ask again while it is not done."""
    view = await kept.view(task_id)
    if view is None:
        raise HTTPException(404, f"there is no task {task_id!r}")
    if view["status"] in ("QUEUED", "RUNNING"):
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return TaskView.model_validate(view)
