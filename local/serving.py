"""The HTTP front, the queue, the log and the terminal around the runtimes, until a signal comes."""

import asyncio
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from local.event_source_mapping import Batch, EventSourceMapping
from local.http_front import Exchange, HttpFront
from local.http_server import Server
from local.invocation import Report
from local.log_tail import NewObjects
from local.runtime import Runtime
from local.signals import on_signal
from local.task_reader import TaskReader
from local.terminal import Terminal


async def serve(
    runtime: Runtime,
    mapping: Callable[[Callable[[Batch], object]], EventSourceMapping],
    readers: tuple[NewObjects, TaskReader],
    terminal: Terminal,
    listener: socket.socket,
) -> None:
    """Serve HTTP on `listener`, and the queue of `mapping`, until a signal comes.

    `mapping` makes the event source mapping, given what is to be called for each batch.
    """
    log, tasks = readers
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    on_signal(lambda: loop.call_soon_threadsafe(stop.set))
    # One thread, so that what belongs together is printed together.
    with ThreadPoolExecutor(max_workers=1) as printer:

        def print_later(exchange: Exchange) -> None:
            exchange.invocation.ended.add_done_callback(partial(ended, exchange))

        def ended(exchange: Exchange, report: Future[Report]) -> None:
            if not report.cancelled():
                seconds = time.monotonic() - exchange.began
                printer.submit(_print, terminal, log, exchange, report.result(), seconds)

        def print_batch(batch: Batch) -> None:
            printer.submit(_print_batch, terminal, log, tasks, batch)

        server = Server(HttpFront(runtime.start, print_later).handle)
        address = await server.listen(listener)
        with mapping(print_batch):
            terminal.say(_welcome(address))
            await stop.wait()
        server.close()
        printer.shutdown(wait=False, cancel_futures=True)


def _print(
    terminal: Terminal, log: NewObjects, exchange: Exchange, report: Report, seconds: float
) -> None:
    terminal.request(exchange, report, seconds)
    _print_log(terminal, log)


def _print_batch(terminal: Terminal, log: NewObjects, tasks: TaskReader, batch: Batch) -> None:
    for record in batch.records:
        for task in tasks.tasks_of(record):
            terminal.task(task, batch.report)
    if batch.error:
        terminal.say(f"  the worker ended with: {batch.error}")
    _print_log(terminal, log)


def _print_log(terminal: Terminal, log: NewObjects) -> None:
    for address, records in log.read():
        terminal.log_object(address, records)


def _welcome(address: str) -> str:
    url = f"http://{address}"
    return (
        f"Serving at {url} (documentation at {url}/docs). Try, in another terminal:\n"
        f"  curl -X POST '{url}/send-notification/ada@example.com?q=lambda'\n"
        "Ctrl-C ends everything."
    )
