"""Decide who may read: this machine's own pages, and beyond it those who know the token.

A page on another host can make a browser send requests here. It can't read the answers unless its own name is made to
lead here (DNS rebinding), and then it names itself in Host; so only our own names are answered. Reading across origins
is refused by Origin and Sec-Fetch-Site besides, and nothing here changes anything: every request but GET and HEAD is
refused.
"""

import hmac
import ipaddress
import math
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "undertow"
SESSION, MOST_SESSIONS = 12 * 3600.0, 4096
"""Seconds that a browser is known for, and how many are."""

GUESSING, MOST_GUESSES = 60.0, 20
"""Seconds, and wrong tokens in them, after which somebody has to wait."""

_NEEDED = "this needs the token: open /?token=..."
SHORTEST_TOKEN = 16
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Lets through to ``app`` what may be read by whoever asks.

    Args:
        app: what is guarded.
        hosts: names this server answers to; None for any, which only a token makes safe.
        token: what readers must know, "" for nothing.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, token: str = "") -> None:
        self._app, self._hosts, self._token = app, hosts, token
        self._sessions, self._guesses = Sessions(), Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = self._refusal(scope) or self._admission(scope)
        await (answer or self._app)(scope, receive, hardened)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts is not None and hostname(host) not in self._hosts:
            return _refused("this server answers to its own names only, not to the one in Host")
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != host:
            return _refused("pages from elsewhere may not read this")
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not _is_visit(headers):
            return _refused("pages from elsewhere may not read this")
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("there is nothing to change here", 405, {"Allow": "GET, HEAD"})
        return None

    def _admission(self, scope: Scope) -> Response | None:
        """None to let in; with the token in the address, a cookie in its stead, so that it is not left in sight."""
        if not self._token:
            return None
        headers = Headers(scope=scope)
        if self._sessions.has(_cookie(headers)) and not _asks_with_token(scope):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        in_address = dict(query).get("token")
        given = in_address if in_address is not None else bearer.strip() if scheme.lower() == "bearer" else None
        if given is None:
            return _closing(PlainTextResponse(_NEEDED, 401, {"WWW-Authenticate": "Bearer"}))
        reader = str((scope.get("client") or ("",))[0])
        if wait := self._guesses.wait(reader):
            text = f"too many wrong tokens from here: wait {wait} seconds"
            return _closing(PlainTextResponse(text, 429, {"Retry-After": str(wait)}))
        if not self._is_token(given):
            self._guesses.wrong(reader)
            return _closing(PlainTextResponse(_NEEDED, 401, {"WWW-Authenticate": "Bearer"}))
        return None if in_address is None else self._welcome(scope["path"], query)

    def _welcome(self, path: str, query: Sequence[tuple[str, str]]) -> Response:
        """Lead to the same page without the token in its address; a cookie that isn't the token stands for it."""
        rest = urlencode([pair for pair in query if pair[0] != "token"])
        # One slash: two lead to another host.
        within = "/" + path.replace("\\", "/").lstrip("/")
        answer = RedirectResponse(within + (f"?{rest}" if rest else ""), 303)
        answer.set_cookie(COOKIE, self._sessions.begun(), httponly=True, samesite="strict", max_age=int(SESSION))
        return answer

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._token.encode())


class Sessions:
    """Browsers that have shown the token, each by a random word of its own, which ends with the server.

    Example:
        >>> sessions = Sessions()
        >>> word = sessions.begun()
        >>> sessions.has(word), sessions.has("another"), sessions.has("")
        (True, False, False)
    """

    def __init__(self) -> None:
        self._ends: OrderedDict[str, float] = OrderedDict()

    def begun(self) -> str:
        """Return the word of a new session."""
        word = secrets.token_urlsafe(32)
        self._ends[word] = time.monotonic() + SESSION
        while len(self._ends) > MOST_SESSIONS:
            self._ends.popitem(last=False)
        return word

    def has(self, word: str) -> bool:
        """Tell whether a session goes on."""
        return self._ends.get(word, 0.0) > time.monotonic()


class Guesses:
    """Wrong tokens by where they came from.

    Example:
        >>> guesses = Guesses()
        >>> for _ in range(MOST_GUESSES): guesses.wrong("10.0.0.7")
        >>> guesses.wait("10.0.0.7") > 0, guesses.wait("10.0.0.8")
        (True, 0)
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wrong(self, reader: str) -> None:
        """Note a wrong token."""
        began, count = self._known.pop(reader, (time.monotonic(), 0))
        self._known[reader] = began, count + 1
        while len(self._known) > MOST_SESSIONS:
            self._known.popitem(last=False)

    def wait(self, reader: str) -> int:
        """Return how many seconds a reader must wait before the next try; 0 if it needn't."""
        began, count = self._known.get(reader, (0.0, 0))
        left = began + GUESSING - time.monotonic()
        if left <= 0:
            self._known.pop(reader, None)
        return math.ceil(left) if left > 0 and count >= MOST_GUESSES else 0


def _asks_with_token(scope: Scope) -> bool:
    return b"token=" in scope["query_string"]


def _closing(answer: Response) -> Response:
    """Have the connection closed: who may not read keeps none open."""
    answer.headers["connection"] = "close"
    return answer


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _is_visit(headers: Mapping[str, str]) -> bool:
    """A link that was followed: the browser shows the page, and the page it came from doesn't see it."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _refused(why: str) -> Response:
    return _closing(PlainTextResponse(why, 403))


def _cookie(headers: Mapping[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def hostname(host: str) -> str:
    """The name in a Host header, without the port; "" if it is none.

    Example:
        >>> hostname("localhost:8000"), hostname("[::1]:8000"), hostname("evil.example")
        ('localhost', '::1', 'evil.example')
    """
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Tell whether an address to bind to is reached from this machine only.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    # Behind % stands an interface, which is no part of the address.
    return all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_loopback for each in found)


def own_names(host: str) -> frozenset[str]:
    """Return what Host may say when bound to loopback; ports don't matter, so that one may be forwarded."""
    return frozenset({"localhost", "127.0.0.1", "::1", host.lower()})


def checked_token(host: str, token: str) -> str:
    """The token, if it is good enough for where the server listens.

    Raises:
        ValueError: beyond loopback without a token, or with one that could be guessed.

    Example:
        >>> checked_token("0.0.0.0", "")
        Traceback (most recent call last):
        ValueError: 0.0.0.0 is reached from other machines: give --token-file (or UNDERTOW_TOKEN), 16 characters ...
    """
    if (token or not is_loopback(host)) and len(token) < SHORTEST_TOKEN:
        advice = 'for example of python -c "import secrets; print(secrets.token_urlsafe())"'
        why = "the token could be guessed" if token else f"{host} is reached from other machines"
        raise ValueError(
            f"{why}: give --token-file (or UNDERTOW_TOKEN), {SHORTEST_TOKEN} characters or more, {advice}; "
            "or stay on 127.0.0.1 and forward the port with ssh -L"
        )
    if not all("!" <= sign <= "~" for sign in token):
        raise ValueError("a token consists of printable ASCII characters without spaces")
    return token
