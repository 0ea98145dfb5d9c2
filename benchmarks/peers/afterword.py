"""The handler of this project, for the application that the peers share."""

from __future__ import annotations

from handler.api import make_handler  # first, as Lambda imports it before the application

# isort: split
from app.log import logger
from benchmarks.peers import application

application.log_to(logger.info)
handler = make_handler(application.app)
