"""The pages and what they ask for, as an ASGI application. It answers, and changes nothing."""

import asyncio
import json
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from undertow.render import live_pages
from undertow.serving.folder import Folder
from undertow.serving.followed import Followed
from undertow.serving.listing import Listing
from undertow.serving.treatments import page_of, treatments
from undertow.store import StoreError

LOOK_EVERY = 0.4
"""Seconds between two looks at a Run that is on somebody's screen."""

LIST_EVERY = 1.5
BEAT_EVERY = 15.0
"""Seconds after which a connection shows that it is alive."""

MOST_FOLLOWED = 12
MOST_COMPARED = 4


P = ParamSpec("P")
T = TypeVar("T")


class NoSuchRunError(Exception):
    """Asked for a Run that isn't in the folder."""


class Pages:
    """The pages and data served of one folder.

    Args:
        folder: where the Runs are.
        stopping: whether the server is about to stop; streams end then.
    """

    def __init__(self, folder: Folder, stopping: Callable[[], bool] = lambda: False) -> None:
        self._folder, self._stopping = folder, stopping
        self._followed: OrderedDict[str, Followed] = OrderedDict()
        self._lock = threading.Lock()
        self._judges = ThreadPoolExecutor(1, "judging")
        self._surveys = ThreadPoolExecutor(1, "judging the list")  # a page that somebody reads waits for no other run
        self._listing = Listing(folder, self._surveys.submit)

    def application(self) -> Starlette:
        """To be run by a server, behind a `Guard`."""
        routes = [
            Route("/", self._index),
            Route("/runs", self._runs),
            Route("/run", self._run),
            Route("/compare", self._compare),
            Route("/view", self._view),
            Route("/step", self._step),
            Route("/events", self._events),
            Route("/treatment", self._treatment),
        ]
        handlers: Any = {NoSuchRunError: _not_there, StoreError: _unreadable}
        return Starlette(routes=routes, exception_handlers=handlers)

    async def _index(self, _: Request) -> Response:
        there = await run_in_threadpool(treatments, self._folder)
        return HTMLResponse(live_pages.runs_page(self._folder.root.name, there))

    async def _treatment(self, request: Request) -> Response:
        name = request.query_params.get("name", "")
        try:
            made, headers = await run_in_threadpool(page_of, self._folder, name)
        except KeyError:
            return PlainTextResponse(f"there is no treatment named {name!r} in this folder", 404)
        return HTMLResponse(made, headers=headers)

    async def _runs(self, _: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._listing.to_list))

    async def _run(self, request: Request) -> Response:
        name = await run_in_threadpool(self._checked, request.query_params.get("name", ""))
        return HTMLResponse(live_pages.run_page(name))

    async def _compare(self, request: Request) -> Response:
        asked = list(dict.fromkeys(request.query_params.getlist("name")))[:MOST_COMPARED]
        names = [await run_in_threadpool(self._checked, name) for name in asked]
        return HTMLResponse(live_pages.compare_page(names))

    async def _view(self, request: Request) -> Response:
        followed = await run_in_threadpool(self._looked_at, request.query_params.get("name", ""))
        return Response(await run_in_threadpool(_shown, followed.view), media_type="application/json")

    async def _step(self, request: Request) -> Response:
        row = request.query_params.get("row", "")
        if not row.isdecimal() or len(row) > 12:
            return PlainTextResponse("row is the place of a taped step: 0, 1, ...", 400)
        followed = await run_in_threadpool(self._looked_at, request.query_params.get("name", ""))
        try:
            return JSONResponse(await run_in_threadpool(_shown, followed.step_view, int(row)))
        except IndexError as error:
            return PlainTextResponse(str(error), 404)

    async def _events(self, request: Request) -> Response:
        names = request.query_params.getlist("name")[:MOST_COMPARED]
        for name in names:
            await run_in_threadpool(self._checked, name)
        state = (lambda: self._states(names)) if names else self._listing.to_list
        every = LOOK_EVERY if names else LIST_EVERY
        return StreamingResponse(self._stream(state, every), media_type="text/event-stream")

    async def _stream(self, state: Callable[[], Any], every: float) -> AsyncIterator[str]:
        """Send ``state()`` as a server-sent event whenever it is another than before."""
        yield "retry: 1000\n\n"
        before, quiet = "", 0.0
        while not self._stopping():
            now = json.dumps(await run_in_threadpool(state), allow_nan=False)
            if now != before:
                yield f"event: state\ndata: {now}\n\n"
                before, quiet = now, 0.0
            elif quiet >= BEAT_EVERY:
                yield ": still here\n\n"
                quiet = 0.0
            await asyncio.sleep(every)
            quiet += every

    def _states(self, names: list[str]) -> dict[str, Any]:
        return {name: self._state(name) for name in names}

    def _state(self, name: str) -> dict[str, Any]:
        try:
            followed = self._looked_at(name)
            if followed.is_to_be_judged:
                self._judges.submit(followed.judge)
            return followed.state()
        except NoSuchRunError:
            return {"kind": "lost", "message": "its file is gone"}
        except StoreError as error:
            return {"kind": "lost", "message": str(error)}

    def _checked(self, name: str) -> str:
        if self._folder.find(name) is None:
            raise NoSuchRunError(name)
        return name

    def _looked_at(self, name: str) -> Followed:
        path = self._folder.find(name)
        if path is None:
            raise NoSuchRunError(name)
        with self._lock:
            followed = self._followed.get(name)
            if followed is None:
                followed = self._followed[name] = _shown(Followed, path)
            self._followed.move_to_end(name)
            left = self._followed.popitem(last=False)[1] if len(self._followed) > MOST_FOLLOWED else None
        if left is not None:
            left.close()
        _shown(followed.refresh)
        return followed

    def close(self) -> None:
        """Let go of all files."""
        self._judges.shutdown(cancel_futures=True)
        self._surveys.shutdown(cancel_futures=True)
        while self._followed:
            self._followed.popitem()[1].close()


def _shown(make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it, and tell of a file that can't be drawn as of one that can't be read: in a sentence, on its own page.

    Raises:
        StoreError, IndexError: there is nothing to show.
    """
    try:
        return make(*args, **kwargs)
    except (StoreError, IndexError):
        raise
    except Exception as error:
        raise StoreError(
            f"this run can't be shown ({type(error).__name__}: {error}): its file may be damaged"
        ) from error


async def _not_there(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"there is no run named {str(error)!r} in this folder", 404)


async def _unreadable(_: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 409)
