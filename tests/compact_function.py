"""The compactor as it is deployed, but that it deletes what the run before it has merged."""

from datetime import timedelta

from handler.compact import make_handler

handler = make_handler(grace=timedelta(0))
