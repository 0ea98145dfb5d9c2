"""A small HTTP/1.1 server on the running event loop."""

import asyncio
import socket

from local.http_connection import Connection, Handler


class Server:
    """A listening socket on the running event loop, and its connections."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._connections: set[Connection] = set()

    async def listen(self, listener: socket.socket | None = None) -> str:
        """Listen on `listener` (default: a free port); returns the address, `host:port`."""
        listener = listener or bind(0)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._handler, self._connections), sock=listener, backlog=1024
        )
        return "{}:{}".format(*listener.getsockname())

    def close(self) -> None:
        """Stop listening and drop every connection at once."""
        self._server.close()
        for connection in list(self._connections):
            connection.abort()


def bind(port: int) -> socket.socket:
    """Return a socket bound to `port` on the loopback address (0: a free one).

    Raises OSError when it is in use.
    """
    # The protocol is named because asyncio turns Nagle's algorithm off (40 ms per answer) only
    # for sockets that say they are TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener
