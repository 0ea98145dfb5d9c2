"""What the application answers with a status of its own, beside FastAPI's HTTPException."""


class Unavailable(Exception):
    """Something that the application needs did not answer in time. A 503: ask again."""
