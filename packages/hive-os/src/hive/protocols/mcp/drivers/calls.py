"""HTTP requests to one tool server: few layers, screened addresses, redirects only within the server itself.

The way of a tool call goes through here, so nothing is done that need not be. A login is an `httpx2.Auth`: its
flow is driven here, and what it wants to ask elsewhere is asked over screened connections too.
"""

import re
from typing import TYPE_CHECKING, Final

import httpcore

from hive import __version__
from hive.core.errors import ConfigError, EngineError, EngineUnavailableError, StateError
from hive.protocols.mcp.drivers.messages import broken, not_sent, too_large
from hive.protocols.mcp.hub.ports import WireOpening
from hive.protocols.mcp.places import ServerAddress, server_address
from hive.protocols.models.addresses import trusted_roots
from hive.protocols.models.connections import ProviderConnections, ProviderResponse

if TYPE_CHECKING:
    import httpx2

CONNECT_TIMEOUT_S: Final = 10.0
SILENCE_MAX_S: Final = 3600.0
IDLE_CONNECTION_S: Final = 30.0
# Servers that people run themselves often close after five seconds.
IDLE_PLAIN_CONNECTION_S: Final = 4.0
REDIRECTS_MAX: Final = 3
SIGNINGS_MAX: Final = 8
ASIDE_MAX_BYTES: Final = 1 << 20
_NEVER_SENT: Final = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout)
_FAILURES: Final = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [^\x00-\x08\x0a-\x1f\x7f]*")
_KEEPING_METHOD: Final = frozenset({307, 308})
_UNSIGNED: Final = frozenset({401, 403})


class HttpCaller:
    """Sends requests to one server and to nobody else, but for what a login needs."""

    def __init__(self, opening: WireOpening) -> None:
        self.address = server_address(opening.spec.url)
        self._auth = opening.auth
        keyed = opening.auth is not None or any(
            "secret:" in value for value in opening.spec.headers.values()
        )
        self._only_loopback = keyed and self.address.scheme == "http"
        self._fixed = "".join(
            header_line(name, value)
            for name, value in {
                "host": self.address.authority,
                "user-agent": f"hive/{__version__}",
                "accept-encoding": "identity",
                **opening.headers,
            }.items()
        )
        self._connections = self._connections_to(self.address, only_loopback=self._only_loopback)

    def close(self) -> None:
        """End every connection."""
        self._connections.close()

    async def send(
        self, method: str, headers: str, body: bytes = b"", *, target: str = ""
    ) -> ProviderResponse:
        """Send a request, signed where a login is asked for; return when its head is there.

        `headers` are whole lines.

        Raises:
            EngineUnavailableError: there is no answer; `__cause__` is None where it did not leave.
            StateError: somebody has to log in first.

        """
        target = target or self.address.target
        if self._auth is not None:
            return await self._signed(self._auth, method, target, headers, body)
        return await self._within(method, target, headers, body)

    async def _within(
        self, method: str, target: str, headers: str, body: bytes
    ) -> ProviderResponse:
        """Send it, and again where the server says that the same thing lies elsewhere on itself.

        Whoever redirects has read the request: from there on nobody knows that nothing was done.
        """
        for hop in range(REDIRECTS_MAX):
            data = b"%b %b HTTP/1.1\r\n%b%bcontent-length: %d\r\n\r\n%b" % (
                method.encode(),
                target.encode(),
                self._fixed.encode("latin-1"),
                headers.encode("latin-1"),
                len(body),
                body,
            )
            try:
                response = await _sent(self._connections, data)
            except EngineUnavailableError as error:
                if hop:
                    # The first place has read it, even where the second cannot be reached.
                    raise broken(f"It redirected, and then: {error}") from error
                raise
            if response.status not in _KEEPING_METHOD:
                return response
            place = header_of(response, b"location")
            response.close()
            target = self._elsewhere(place)
        raise broken("It redirects without an end.")

    def _elsewhere(self, reference: str) -> str:
        try:
            there = self.address.joined(reference)
        except ConfigError as error:
            raise broken("It redirects to what is no address.") from error
        if there.origin != self.address.origin:
            raise broken("It redirects to another host, where nothing of ours is sent.")
        return there.target

    async def _signed(
        self, auth: "httpx2.Auth", method: str, target: str, headers: str, body: bytes
    ) -> ProviderResponse:
        import httpx2

        fields = [line.partition(": ")[::2] for line in headers.splitlines()]
        url = str(httpx2.URL(self.address.url).join(target))
        flow = auth.async_auth_flow(httpx2.Request(method, url, headers=fields, content=body))
        kept: ProviderResponse | None = None
        try:
            asked = await anext(flow)
            for _ in range(SIGNINGS_MAX):
                if str(asked.url) != url:
                    answer = await self._aside(asked)
                else:
                    if kept is not None:
                        kept.close()
                    added = _added(asked, headers)
                    kept = await self._within(method, target, headers + added, body)
                    answer = await _shown(kept, asked)
                asked = await flow.asend(answer)
        except StopAsyncIteration:
            if kept is not None:
                return kept
        except BaseException:
            if kept is not None:
                kept.close()
            raise
        finally:
            await flow.aclose()
        raise needs_login("Its login does not come to an end.")

    async def _aside(self, asked: "httpx2.Request") -> "httpx2.Response":
        """Ask what a login asks elsewhere: for a token, or for metadata."""
        import httpx2

        try:
            there = server_address(str(asked.url))
        except ConfigError as error:
            raise needs_login("Its login leads to what is no address.") from error
        content = await asked.aread()
        lines = "".join(
            header_line(name, value)
            for name, value in {**asked.headers, "host": there.authority}.items()
            if name not in ("content-length", "transfer-encoding", "accept-encoding", "connection")
        )
        data = b"%b %b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n%b" % (
            asked.method.encode(),
            there.target.encode(),
            lines.encode("latin-1"),
            len(content),
            content,
        )
        connections = self._connections_to(there, only_loopback=there.scheme == "http")
        try:
            response = await _sent(connections, data)
            try:
                said = await read_all(response, ASIDE_MAX_BYTES)
                return httpx2.Response(
                    response.status, headers=response.headers, content=said, request=asked
                )
            finally:
                response.close()
        finally:
            connections.close()

    def _connections_to(self, there: ServerAddress, *, only_loopback: bool) -> ProviderConnections:
        secure = there.scheme == "https"
        return ProviderConnections(
            place=there.place(only_loopback=only_loopback),
            context=trusted_roots() if secure else None,
            connect_s=CONNECT_TIMEOUT_S,
            read_s=SILENCE_MAX_S,
            kept_s=IDLE_CONNECTION_S if secure else IDLE_PLAIN_CONNECTION_S,
        )


async def read_all(response: ProviderResponse, limit: int) -> bytes:
    """Return a whole body.

    Raises:
        TooLargeError: it is over `limit`; the rest is not read.
        EngineUnavailableError: it broke.

    """
    length = header_of(response, b"content-length")
    if length.isdigit() and int(length[:15]) > limit:
        raise too_large(limit)
    pieces: list[bytes] = []
    size = 0
    while piece := await piece_of(response):
        size += len(piece)
        if size > limit:
            raise too_large(limit)
        pieces.append(piece)
    return b"".join(pieces)


async def piece_of(response: ProviderResponse) -> bytes:
    """Return the next piece of a body, empty at its end.

    Raises:
        EngineUnavailableError: it broke.

    """
    try:
        return await response.piece()
    except _FAILURES as error:
        raise broken(_why(error), error) from error


def header_of(response: ProviderResponse, name: bytes) -> str:
    """Return a header of an answer, empty where it has none."""
    for key, value in response.headers:
        if key.lower() == name:
            return value.decode("latin-1").strip()
    return ""


def header_line(name: str, value: str) -> str:
    """Return one header, ready to be sent.

    Raises:
        ConfigError: it would be more than one, or none.

    """
    line = f"{name}: {value}"
    if not _HEADER.fullmatch(line) or not line.isascii():
        raise ConfigError(
            "A header for the tool server cannot be sent.",
            why=f"{name[:40]!r} or its value has characters that a header must not have.",
        )
    return line + "\r\n"


def needs_login(why: str) -> StateError:
    """Return the error of a server that wants a login that is not there."""
    return StateError("The tool server wants a login.", why=why, fix="hive tool login NAME")


async def _sent(connections: ProviderConnections, data: bytes) -> ProviderResponse:
    try:
        return await connections.send(data)
    except _NEVER_SENT as error:
        raise not_sent(_why(error)) from None
    except _FAILURES as error:
        raise broken(_why(error), error) from error
    except EngineError as error:
        raise not_sent(str(error)) from None


async def _shown(response: ProviderResponse, asked: "httpx2.Request") -> "httpx2.Response":
    import httpx2

    said = b""
    if response.status in _UNSIGNED:
        said = await read_all(response, ASIDE_MAX_BYTES)
    return httpx2.Response(response.status, headers=response.headers, content=said, request=asked)


def _added(asked: "httpx2.Request", headers: str) -> str:
    """Return the headers that a login put in."""
    ours = {line.partition(":")[0].lower() for line in headers.splitlines()}
    ours |= {"host", "content-length", "accept-encoding", "user-agent", "connection"}
    return "".join(
        header_line(name, value) for name, value in asked.headers.items() if name not in ours
    )


def _why(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__
