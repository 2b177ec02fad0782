"""Origins and prefixes of addresses, compared as a browser compares them, and nothing cleverer."""

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]*)*")


def origin_of(url: str) -> str:
    """Return `scheme://host:port` of an http or https address; empty where it is not a clean one.

    Addresses with user names, backslashes, blanks or control characters have none: two readers could see
    two hosts in them.
    """
    parts = _split(url)
    if parts is None:
        return ""
    return f"{parts.scheme}://{_host(parts)}:{parts.port or _PORTS[parts.scheme]}"


def same_origin(one: str, other: str) -> bool:
    """Tell whether two addresses are of one origin; an address that has none is never."""
    origin = origin_of(one)
    return bool(origin) and origin == origin_of(other)


def same_host(one: str, other: str) -> bool:
    """Tell whether two addresses name one host, whatever their ports."""
    first, second = _split(one), _split(other)
    return first is not None and second is not None and _host(first) == _host(second)


def beneath(url: str, allowed: str) -> bool:
    """Tell whether an address is the allowed one, or lies below it where that ends in a slash.

    A path with dots, escapes or doubled slashes lies nowhere, and neither does one with a query.
    """
    parts, limit = _split(url), _split(allowed)
    if parts is None or limit is None or not same_origin(url, allowed):
        return False
    if parts.query or parts.fragment or not _PATH.fullmatch(parts.path):
        return False
    if "//" in parts.path or any(set(step) == {"."} for step in parts.path.split("/")):
        return False
    if limit.path.endswith("/"):
        return parts.path.startswith(limit.path)
    return parts.path == limit.path


def is_loopback(url: str) -> bool:
    """Tell whether an address is of this machine, and so nobody is between."""
    parts = _split(url)
    if parts is None:
        return False
    host = _host(parts).strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host


def _split(url: str) -> SplitResult | None:
    parts = clean_split(url)
    if parts is None or parts.scheme not in _PORTS:
        return None
    return parts if _HOST.fullmatch(_host(parts)) else None


def clean_split(url: str) -> SplitResult | None:
    """Split an address that two readers split alike; None for user names, backslashes, blanks, odd ports."""
    if not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return None if "@" in parts.netloc or port == 0 else parts
