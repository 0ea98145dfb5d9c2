"""The FastAPI application: plain FastAPI that knows nothing of Lambda."""
