"""Asks an address that somebody else named: screened after it was resolved, bounded, and never redirected.

The connection goes to the very address that was looked at, so a name cannot lead elsewhere between the look and
the connect. Plain HTTP is spoken to this machine alone, and only where the operator's own server is on it.
"""

import asyncio
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import anyio
import httpcore

from hive.core.errors import ConfigError, EngineError, EngineUnavailableError, TooLargeError
from hive.protocols.egress.addresses import Resolve, is_public, system_resolve
from hive.protocols.mcp.places import ServerAddress, server_address
from hive.protocols.models.addresses import is_metadata, trusted_roots
from hive.protocols.models.exchange import ProviderExchange

FETCH_TIMEOUT_S: Final = 10.0
DOCUMENT_MAX_BYTES: Final = 64 << 10
_LINE_ENDS: Final = ("\r", "\n", "\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which addresses beside public ones may be asked: this machine's, and those of the operator's networks."""

    loopback: bool = False
    networks: bool = False

    def allows(self, address: str) -> bool:
        """Tell whether an address may be connected to; a metadata service never may."""
        if is_metadata(address):
            return False
        if is_public(address):
            return True
        return self.loopback if is_loopback(address) else self.networks


@dataclass(frozen=True, slots=True)
class FetchReply:
    """An answer: names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ScreenedFetch:
    """Fetches documents and asks for tokens."""

    def __init__(self, *, resolve: Resolve = system_resolve) -> None:
        self._resolve = resolve

    async def reach_of(self, url: str) -> Reach:
        """Return what may be asked on behalf of a server that the operator named: what it is itself.

        Raises:
            EngineUnavailableError: its name has no address, or an address that no server has.

        """
        place = server_address(url)
        found = await self._resolve(place.host, place.port)
        if any(is_metadata(one) for one in found):
            raise refused(place.host)
        inside = [one for one in found if not is_public(one)]
        return Reach(
            loopback=any(is_loopback(one) for one in inside),
            networks=any(not is_loopback(one) for one in inside),
        )

    async def ask(
        self,
        method: str,
        url: str,
        *,
        reach: Reach,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        body: bytes = b"",
        limit_bytes: int = DOCUMENT_MAX_BYTES,
    ) -> FetchReply:
        """Send one request; a redirect is an answer like any other.

        Raises:
            EngineUnavailableError: it may not be asked, or gave no answer in time.
            TooLargeError: the answer is over the limit.

        """
        try:
            place = server_address(url)
        except ConfigError as error:
            raise refused(url[:60]) from error
        fields = {"accept": "application/json", **(headers or {})}
        if form is not None:
            body = urlencode(form).encode()
            fields["content-type"] = "application/x-www-form-urlencoded"
        data = _request(method, place, fields, body)
        try:
            with anyio.fail_after(FETCH_TIMEOUT_S):
                wire = await self._connected(place, reach)
                try:
                    return await _exchanged(wire, data, limit_bytes)
                finally:
                    wire.abort()
        except (TimeoutError, OSError, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise EngineUnavailableError(
                f"{place.host} gave no usable answer.", why=type(error).__name__
            ) from error

    async def _connected(self, place: ServerAddress, reach: Reach) -> ProviderExchange:
        addresses = [
            one for one in await self._resolve(place.host, place.port) if reach.allows(one)
        ]
        if place.scheme == "http":
            addresses = [one for one in addresses if is_loopback(one)]
        if not addresses:
            raise refused(place.host)
        loop = asyncio.get_running_loop()
        secure = place.scheme == "https"
        _, wire = await loop.create_connection(
            lambda: ProviderExchange(loop, FETCH_TIMEOUT_S),
            addresses[0],
            place.port,
            ssl=trusted_roots() if secure else None,
            server_hostname=place.host if secure else None,
        )
        return wire


def is_loopback(address: str) -> bool:
    """Tell whether an address is this machine's own, also where IPv6 carries it."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def refused(host: str) -> EngineUnavailableError:
    """Return the error of an address that is not asked."""
    return EngineUnavailableError(
        f"{host[:80]} is not asked.",
        why="It is no https address, or it lies inside a machine or a network.",
    )


def _request(method: str, place: ServerAddress, fields: Mapping[str, str], body: bytes) -> bytes:
    lines = {**fields, "host": place.authority, "accept-encoding": "identity"}
    lines |= {"content-length": str(len(body)), "connection": "close"}
    for name, value in lines.items():
        if any(end in name + value for end in _LINE_ENDS) or not value.isascii():
            raise EngineError("A header of the request cannot be sent.")
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {place.target} HTTP/1.1\r\n{head}\r\n".encode() + body


async def _exchanged(wire: ProviderExchange, data: bytes, limit: int) -> FetchReply:
    wire.begin(data)
    await wire.answered()
    pieces: list[bytes] = []
    size = 0
    while piece := await wire.piece():
        size += len(piece)
        if size > limit:
            raise TooLargeError("An answer is too large.", why=f"Over {limit} bytes.")
        pieces.append(piece)
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in wire.headers
    }
    return FetchReply(wire.status, headers, b"".join(pieces))
