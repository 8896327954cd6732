"""Decide who may read: this machine's own pages, and beyond it those who know the token.

A page on another host can make a browser send requests here. It can't read the answers unless its own name is made to
lead here (DNS rebinding), and then it names itself in Host; so only our own names are answered. Reading across origins
is refused by Origin and Sec-Fetch-Site besides, and nothing here changes anything: every request but GET and HEAD is
refused.
"""

import hmac
import ipaddress
import socket
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "undertow"
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
        if origin is not None and urlsplit(origin).netloc != host:
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
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token")
        if given is not None and self._is_token(given):
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            answer = RedirectResponse(scope["path"] + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
            return answer
        headers = Headers(scope=scope)
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        known = _cookie(headers) if scheme.lower() != "bearer" else bearer
        if self._is_token(known):
            return None
        return PlainTextResponse("this needs the token: open /?token=...", 401, {"WWW-Authenticate": "Bearer"})

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def _is_visit(headers: Mapping[str, str]) -> bool:
    """A link that was followed: the browser shows the page, and the page it came from doesn't see it."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _refused(why: str) -> Response:
    return PlainTextResponse(why, 403)


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
        ValueError: 0.0.0.0 is reached from other machines: give --token (or UNDERTOW_TOKEN), 16 characters or more, ...
    """
    if (token or not is_loopback(host)) and len(token) < SHORTEST_TOKEN:
        advice = 'for example of python -c "import secrets; print(secrets.token_urlsafe())"'
        why = "the token could be guessed" if token else f"{host} is reached from other machines"
        raise ValueError(
            f"{why}: give --token (or UNDERTOW_TOKEN), {SHORTEST_TOKEN} characters or more, {advice}; "
            "or stay on 127.0.0.1 and forward the port with ssh -L"
        )
    if not all("!" <= sign <= "~" for sign in token):
        raise ValueError("a token consists of printable ASCII characters without spaces")
    return token
