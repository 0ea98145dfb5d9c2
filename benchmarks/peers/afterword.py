"""The handler of this project, for the application that the peers share."""

from __future__ import annotations

from app.log import logger
from benchmarks.peers import application
from handler.api import make_handler

application.log_to(logger.info)
handler = make_handler(application.app)
