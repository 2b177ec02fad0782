"""The head of a proxy request, read strictly: what two parsers could read in two ways is refused.

No folded lines, no bare carriage returns, no second Host or length, no chunked request body, no address in
another notation than the usual one.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, NoReturn

from hive.core.errors import BadInputError

HEAD_MAX_BYTES: Final = 16 << 10
HEADERS_MAX: Final = 100
_REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,16}) ([\x21-\x7e]{1,8192}) HTTP/1\.[01]")
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#\\%]+)(?::([0-9]{1,5}))?")
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"})
SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A host (a name in lower case, or an address in its usual notation) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def literal(self) -> bool:
        """Tell whether the host is an address."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyHead:
    """One request to the proxy: its target, and for plain HTTP the head that goes on."""

    method: str
    target: Target
    path: str = ""
    handle: str = ""
    body_bytes: int = 0
    onward: bytes = b""

    @property
    def tunnel(self) -> bool:
        """Tell whether bytes pass unread."""
        return self.method == "CONNECT"


def parse_head(data: bytes) -> ProxyHead:
    """Read everything up to and with the empty line.

    Raises:
        BadInputError: it is not a proxy request, or it can be read in two ways.

    """
    lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    first = _REQUEST_LINE.fullmatch(lines[0])
    if first is None:
        _bad("The request line is not `METHOD target HTTP/1.1`.")
    method, target_text = first[1].decode("ascii"), first[2].decode("ascii")
    if method not in METHODS:
        _bad(f"The method is not one of {', '.join(sorted(METHODS))}.")
    fields = _fields(lines[1:])
    handle = _handle(fields)
    if method == "CONNECT":
        if _one(fields, "transfer-encoding") or _one(fields, "content-length") not in ("", "0"):
            _bad("A CONNECT has no body.")
        return ProxyHead(method=method, target=parse_target(target_text, port=None), handle=handle)
    return _absolute(method, target_text, fields, handle)


def parse_target(text: str, *, port: int | None) -> Target:
    """Read `host:port`; `port` is what a missing one means.

    Raises:
        BadInputError: it is no host, or not in its usual notation.

    """
    if not text.isascii():
        _bad("Write the host in its ASCII form (`xn--...`).")
    matched = _AUTHORITY.fullmatch(text)
    if matched is None:
        _bad("The host is not `name:port`; user information is never allowed.")
    number = int(matched[2]) if matched[2] else port
    if number is None or not 0 < number < 65536:
        _bad("The port is missing or not between 1 and 65535.")
    return Target(host=_host(matched[1].lower()), port=number)


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return ipaddress.IPv6Address(text[1:-1]).compressed
        except ValueError:
            _bad("The host is not an IPv6 address.")
    name = text.removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        _bad("The host is not a name of letters, digits, dots and hyphens.")
    if _NUMBER.fullmatch(labels[-1]):
        # What ends in a number is an address to some resolvers: only the usual notation is read.
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            _bad("Write an IPv4 address as four decimal numbers.")
    return name


def _absolute(
    method: str, target_text: str, fields: list[tuple[str, str]], handle: str
) -> ProxyHead:
    scheme, separator, rest = target_text.partition("://")
    if not separator or scheme.lower() != "http":
        _bad("Use CONNECT, or an absolute URL that begins with http://.")
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    authority, path = rest[:end], rest[end:]
    if "#" in path:
        _bad("A request target has no fragment.")
    target = parse_target(authority, port=80)
    host = _one(fields, "host")
    if not host or parse_target(host, port=80) != target:
        _bad("The Host header must stand once and name the host of the URL.")
    if _one(fields, "transfer-encoding"):
        _bad("Send a Content-Length: chunked request bodies do not pass.")
    length = _one(fields, "content-length") or "0"
    if not (length.isascii() and length.isdigit()) or len(length) > 15:
        _bad("The Content-Length is not a number.")
    path = path if path.startswith("/") else "/" + path
    return ProxyHead(
        method=method,
        target=target,
        path=path,
        handle=handle,
        body_bytes=int(length),
        onward=_onward(method, path, target, fields),
    )


def _onward(method: str, path: str, target: Target, fields: list[tuple[str, str]]) -> bytes:
    named = {
        token.strip().lower()
        for key, value in fields
        if key == "connection"
        for token in value.split(",")
    }
    dropped = (_HOP_BY_HOP | named | {"host"}) - {"content-length"}
    host = str(target).removesuffix(":80")
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}"]
    lines += [f"{key}: {value}" for key, value in fields if key not in dropped]
    # One request a connection: nothing that follows could be read as a second one.
    lines += ["connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _fields(lines: list[bytes]) -> list[tuple[str, str]]:
    if len(lines) > HEADERS_MAX:
        _bad(f"There are more than {HEADERS_MAX} headers.")
    fields = []
    for line in lines:
        matched = _FIELD.fullmatch(line)
        if matched is None:
            _bad("A header line is not `name: value`.")
        fields.append((matched[1].decode("ascii").lower(), matched[2].decode("latin-1").rstrip()))
    return fields


def _one(fields: list[tuple[str, str]], name: str) -> str:
    values = [value for key, value in fields if key == name]
    if len(values) > 1:
        _bad(f"The header {name} stands more than once.")
    return values[0] if values else ""


def _handle(fields: list[tuple[str, str]]) -> str:
    scheme, _, token = _one(fields, "proxy-authorization").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _bad(why: str) -> NoReturn:
    raise BadInputError("The proxy request was refused.", why=why, fix="Send another request.")
