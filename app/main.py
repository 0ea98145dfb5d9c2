"""The application: routes, lifespan and nothing else. Runs under uvicorn as ``app.main:app``."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from app import files, notifications, seam, tasks
from app.errors import Unavailable
from app.log import logger

seam.install()

app = FastAPI(
    title="afterword",
    responses={
        400: {"description": "The request cannot be read"},
        503: {"description": "Something did not answer; ask again"},
    },
)
app.include_router(notifications.router)
app.include_router(files.router)
app.include_router(tasks.router)


@app.exception_handler(Unavailable)
async def unavailable(_: Request, error: Unavailable) -> JSONResponse:
    """Answer 503 when something outside did not answer."""
    logger.error("503: %s", error)
    return JSONResponse(
        {"detail": "something that this needs did not answer"}, 503, {"Retry-After": "5"}
    )


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the application answers."""
    return {"status": "ok"}
