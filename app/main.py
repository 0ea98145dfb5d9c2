"""The application: routes, lifespan and nothing else. Runs under uvicorn as ``app.main:app``."""

from __future__ import annotations

from fastapi import FastAPI

from app import background, notifications, tasks

background.install()

app = FastAPI(title="afterword")
app.include_router(notifications.router)
app.include_router(tasks.router)


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the application answers."""
    return {"status": "ok"}
