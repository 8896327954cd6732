"""Slow, silent, malformed and many: nothing that a stranger sends stops the server or gets an answer it shouldn't."""

import contextlib
import socket
import sqlite3
import threading
import time

import httpx
import pytest
import uvicorn

from undertow.record import Run
from undertow.serving import connections, listening
from undertow.serving.application import Pages
from undertow.serving.folder import Folder
from undertow.serving.guard import COOKIE, MOST_GUESSES, Guard, own_names
from undertow.store import open_run, save_run

TOKEN = "a-token-that-nobody-guesses"  # noqa: S105


@contextlib.contextmanager
def served(root, token=""):
    """A server in a thread of this process, on any free port; gives its port."""
    pages = Pages(Folder(root))
    with contextlib.closing(listening.bound("127.0.0.1", 0)) as listener:
        config = listening._config()
        server = uvicorn.Server(config)
        config.app = Guard(pages.application(), own_names("127.0.0.1"), token)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)
            pages.close()


def asked(port, text):
    """Send bytes as they are and return all that comes until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        one.sendall(text.encode("latin-1"))
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while part := one.recv(65536):
                got += part
    return got.decode("latin-1")


def request(path, *headers, last=True):
    more = ["Connection: close"] if last else []
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers, *more, "", ""])


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "runs"
    (folder / ".hidden").mkdir(parents=True)
    save_run(Run({"model": "Net"}, ()), folder / "mine.undertow")
    save_run(Run({"model": "Secret"}, ()), folder / ".hidden" / "other.undertow")
    return folder


@pytest.fixture
def _impatient(monkeypatch):
    monkeypatch.setattr(connections, "REQUEST_WITHIN", 0.3)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("sent", ["", "GET / HTTP/1.1\r\nHost: 127", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: y"])
def test_a_request_that_does_not_come_in_time_is_given_up(root, sent):
    with served(root) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        one.sendall(sent.encode())
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(100) == b""


@pytest.mark.usefixtures("_impatient")
def test_a_second_request_that_does_not_come_in_time_is_given_up(root):
    with served(root) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        one.sendall(request("/runs", last=False).encode())
        got = b""
        while b"mine.undertow" not in got:
            got += one.recv(65536)
        one.sendall(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(100) == b""


def test_silent_connections_make_room_for_those_who_ask(root, monkeypatch):
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 20)
    with served(root) as port, contextlib.ExitStack() as held:
        for _ in range(60):
            held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        for _ in range(10):
            assert "mine.undertow" in asked(port, request("/runs"))


def test_two_hundred_streams_are_served_beside_the_slow_and_the_malformed(root):
    """Of 300 connections 200 follow a run, 50 send a header byte by byte, 50 send nonsense: who asks is answered."""
    with served(root) as port, contextlib.ExitStack() as held:

        def connected():
            return held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))

        streams, slow, malformed = ([connected() for _ in range(count)] for count in (200, 50, 50))
        for one in streams:
            one.sendall(request("/events?name=mine.undertow", last=False).encode())
        for number, one in enumerate(slow):
            one.sendall(request("/runs")[: number % 30].encode())
        for number, one in enumerate(malformed):
            one.sendall(NONSENSE[number % len(NONSENSE)])
        for one in streams:
            assert b"event: state" in _until(one, b"event: state")
        for one in malformed:
            answer = _until(one, b"\r\n")
            assert not answer or answer.startswith(b"HTTP/1.1 4"), answer
        assert "mine.undertow" in asked(port, request("/runs"))
        slow[3].sendall(request("/runs")[3:].encode())  # slow, and in time
        assert b"mine.undertow" in _until(slow[3], b"mine.undertow")


NONSENSE = (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 20, b"GET " + b"/" * 70_000, bytes(300))


def _until(one, end):
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while end not in got and (part := one.recv(65536)):
            got += part
    return got


def test_answers_leave_at_once(root):
    with served(root) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        client.get("/runs")
        began = time.perf_counter()
        for _ in range(50):
            client.get("/runs")
        # 40 ms each without TCP_NODELAY: five times what this asks for.
        assert time.perf_counter() - began < 50 * 0.04


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (request("/runs", "Origin: http://["), "403"),
        (request("/runs", "Origin: null"), "403"),
        ("GET /runs HTTP/1.1\r\nHost: [\r\n\r\n", "403"),
        (request("/run?name=.hidden/other.undertow"), "404"),
        (request("/view?name=.hidden%2Fother.undertow"), "404"),
        (request("/view?name=%00.undertow"), "404"),
        (request("/view?name=%ff%fe.undertow"), "404"),
        (request("/runs", "Cookie: undertow=\xff;;=;\x01"), "200"),
        (request("/runs", "Cookie: " + "a=b;" * 2000), "200"),
        (request("/runs?" + "&".join(f"name={i}" for i in range(2000))), "200"),
        ("GET /runs HTTP/9.9\r\n\r\n", "403"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"),
        ("POST /runs HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", "400"),
        ("GET /runs HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n", "200"),
    ],
)
def test_nonsense_gets_an_error_that_says_so(root, text, status):
    with served(root) as port:
        assert asked(port, text).split(" ", 2)[1] == status
        assert "mine.undertow" in asked(port, request("/runs"))


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example/x", "///evil.example", "/%5C%5Cevil.example"])
def test_the_token_leads_nowhere_else(root, path):
    with served(root, TOKEN) as port:
        answer = asked(port, request(f"{path}?token={TOKEN}"))
    (location,) = (line.split(": ", 1)[1] for line in answer.splitlines() if line.lower().startswith("location"))
    assert answer.split(" ", 2)[1] == "303"
    assert location[0] == "/"
    assert location[1:2] not in ("/", "\\")


def test_the_cookie_is_not_the_token(root):
    with served(root, TOKEN) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        assert client.get("/runs").status_code == 401
        assert client.get("/", params={"token": TOKEN}).status_code == 303
        word = client.cookies[COOKIE]
        assert TOKEN not in word
        assert client.get("/runs").json()[0]["name"] == "mine.undertow"
        assert httpx.get(f"http://127.0.0.1:{port}/runs", headers={"Cookie": f"{COOKIE}={TOKEN}"}).status_code == 401
        assert httpx.get(f"http://127.0.0.1:{port}/runs", headers={"Cookie": f"{COOKIE}={word}"}).status_code == 200


def test_guesses_are_limited_and_readers_are_not(root):
    with served(root, TOKEN) as port:
        base = f"http://127.0.0.1:{port}/runs"
        with httpx.Client(timeout=20) as client:
            assert client.get(base, params={"token": TOKEN}).status_code == 303
            wrong = [
                httpx.get(base, headers={"Authorization": f"Bearer {i}"}).status_code for i in range(MOST_GUESSES + 3)
            ]
            assert wrong == [401] * MOST_GUESSES + [429] * 3
            assert httpx.get(base, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 429
            assert client.get(base).status_code == 200


def test_reading_a_killed_run_leaves_nothing_beside_it(root):
    path = root / "mine.undertow"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("INSERT INTO sessions (token, pid, host) VALUES ('x', 1, 'y')")
        kept = {end: path.with_name(f"{path.name}{end}").read_bytes() for end in ("", "-wal")}
    for end, content in kept.items():
        path.with_name(f"{path.name}{end}").write_bytes(content)
    there = sorted(each.name for each in root.iterdir())
    assert open_run(path).header["model"] == "Net"
    with served(root) as port:
        assert "Net" in asked(port, request("/view?name=mine.undertow"))
        assert sorted(each.name for each in root.iterdir()) == there
    assert {end: path.with_name(f"{path.name}{end}").read_bytes() for end in kept} == kept
