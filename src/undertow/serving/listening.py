"""The server: where it listens, what it tells of that, and how it stops."""

import contextlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from undertow.serving.application import Pages
from undertow.serving.connections import Sparing, protocol
from undertow.serving.folder import Folder
from undertow.serving.guard import Guard, checked_token, is_loopback, own_names

PORT, TRIES = 8642, 20


def serve(
    root: Path,
    host: str = "127.0.0.1",
    port: int | None = None,
    token: str = "",
    tell: Callable[[str], None] = print,
) -> None:
    """Serve a folder of Runs until interrupted.

    Args:
        root: the folder.
        host: address to bind to; beyond loopback a token is demanded.
        port: 0 for any free one; by default 8642 or, if it is taken, the next that is free.
        token: what readers must know.
        tell: called with the pages' address as soon as they can be opened.

    Raises:
        ValueError: no token where there must be one.
        OSError: no such folder, or the port is taken.
    """
    folder = Folder(root)
    checked_token(host, token)
    with contextlib.closing(bound(host, port)) as listener:
        server = uvicorn.Server(_config())
        pages = Pages(folder, stopping=lambda: server.should_exit)
        hosts = own_names(host) if is_loopback(host) else None
        server.config.app = Guard(pages.application(), hosts, token)
        tell(address(listener))
        with contextlib.closing(pages):
            server.run(sockets=[listener])


def _config() -> uvicorn.Config:
    config = uvicorn.Config(
        "",
        http=protocol(),
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        lifespan="off",
    )
    sparing = Sparing()
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).addFilter(sparing)
    return config


def bound(host: str, port: int | None) -> socket.socket:
    """A socket that listens to ``host``.

    Raises:
        OSError: the port is taken, or there is no such address.
    """
    ports = range(PORT, PORT + TRIES) if port is None else [port]
    for each in ports:
        try:
            return _bound(host, each)
        except OSError as error:
            failed = error
    raise OSError(f"can't listen to {host}, port {ports[-1]}: {failed.strerror or failed}; give another --port")


def _bound(host: str, port: int) -> socket.socket:
    family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)  # named, so that asyncio knows it for TCP
    try:
        # Else the port stays taken for a minute after a server that had readers.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def address(listener: socket.socket) -> str:
    """Return the address to point a browser at."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
