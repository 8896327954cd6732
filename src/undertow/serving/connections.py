"""Connections that can't wear the server out: deadlines, a cap, and a log that doesn't fill the disk."""

import asyncio
import logging
import socket
import time
from collections import OrderedDict
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from undertow.printable import printable, shortened

REQUEST_WITHIN = 10.0
"""Seconds for a request's line and headers to arrive, from the connection or the last answer on."""

TAKEN_WITHIN = 30.0
"""Seconds for a reader to take in what waits to be sent."""

MOST_CONNECTIONS = 512
SPARE_FILES = 64
"""Open files that are left for runs and pages."""

LOGGED, LOGGED_IN = 10, 60.0
"""Lines of a kind of trouble in so many seconds; the others are left out."""


class Connections:
    """The connections of one server: who has asked nothing yet goes first when there are too many."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most or _affordable()
        self._silent: OrderedDict[Any, None] = OrderedDict()
        self._open: set[Any] = set()

    def came(self, connection: "Connection") -> None:
        """Take in a connection; beyond the cap the one that has been silent longest ends, or this one."""
        self._open.add(connection)
        self._silent[connection] = None
        if len(self._open) > self.most:
            oldest, _ = self._silent.popitem(last=False)
            oldest.end()

    def asked(self, connection: "Connection") -> None:
        """Note that a request has arrived."""
        self._silent.pop(connection, None)

    def left(self, connection: "Connection") -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._silent.pop(connection, None)


def _affordable() -> int:
    try:
        import resource
    except ImportError:  # only Unix counts files so
        return MOST_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(8, min(MOST_CONNECTIONS, files - SPARE_FILES)) if files > 0 else MOST_CONNECTIONS


class Connection(H11Protocol):
    """One connection, which must ask in time and take in what it asked for."""

    known: Connections
    """Set by `protocol`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin: small answers leave at once, and the first request must come in time."""
        super().connection_made(transport)
        self._late: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        own = transport.get_extra_info("socket")
        if own is not None and own.family in (socket.AF_INET, socket.AF_INET6):
            # Without it a kept connection waits 40 ms for the other side to acknowledge the answer's first part.
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.known.came(self)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take in a part of a request."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._expect()
        else:
            self._arrived()

    def on_response_complete(self) -> None:
        """Wait for the next request, for a while."""
        super().on_response_complete()
        if not self.transport.is_closing() and self.cycle.response_complete:
            self._expect()

    def pause_writing(self) -> None:
        """Give the reader time to take in what waits."""
        super().pause_writing()
        self._stuck = self._stuck or self.loop.call_later(TAKEN_WITHIN, self.end)

    def resume_writing(self) -> None:
        """Note that the reader did."""
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        for timer in (self._late, self._stuck):
            if timer is not None:
                timer.cancel()
        self.known.left(self)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what isn't HTTP; whoever answers its beginning is told that nobody listens any more."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        super().send_400_response(msg)

    def end(self) -> None:
        """Close it at once, whatever is still to be sent."""
        if not self.transport.is_closing():
            self.transport.abort()

    def _expect(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(REQUEST_WITHIN, self.end)

    def _arrived(self) -> None:
        self.known.asked(self)
        if self._late is not None:
            self._late.cancel()
            self._late = None


def protocol(most: int | None = None) -> type[Connection]:
    """Return the protocol of one server, which counts its own connections.

    Args:
        most: connections at a time; by default 512, or what this process may open.

    Example:
        >>> protocol(100).known.most
        100
    """
    return type("Connection", (Connection,), {"known": Connections(most)})


class Sparing(logging.Filter):
    """Let through a few lines of each kind a minute, as text that a terminal takes.

    Example:
        >>> sparing = Sparing()
        >>> record = logging.LogRecord("x", logging.WARNING, "x.py", 1, "an odd request", (), None)
        >>> [sparing.filter(record) for _ in range(11)][-2:]
        [True, False]
    """

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is written."""
        now, kind = time.monotonic(), str(record.msg)[:60]
        began, count = self._counts.get(kind, (now, 0))
        if now - began > LOGGED_IN:
            began, count = now, 0
        if len(self._counts) > 1000:
            self._counts.clear()
        self._counts[kind] = began, count + 1
        record.msg, record.args = shortened(printable(record.getMessage(), lines=True), 2000), ()
        return count < LOGGED
