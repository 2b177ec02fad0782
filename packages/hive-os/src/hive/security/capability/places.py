"""Paths and URLs compared by where they lead, as far as their text alone can tell.

Nothing here looks at a disk, so a symbolic link changes no answer: a path that climbs (`..`) is refused wherever it
ends. What may be read in two ways is refused as well: percent signs that decode to something else that
matters, look-alike dots and slashes, control characters, other bases for an address.
"""

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

PATH_MAX_CHARS: Final = 4096
DECODINGS_MAX: Final = 3
_SLASHES: Final = frozenset(
    "\\\u2215\u2044\uff0f\uff3c\u29f8\u27cb\u2216\u29f5\u2571\u2572\ufe68\u29f9"
)
_ODD_SEGMENT: Final = re.compile(r"[. ]{2,}(?:;.*)?|[. ]+ | +")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(.*)", re.DOTALL)
_HOST: Final = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
)
_NUMERIC: Final = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+))*")
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}


def lexical_path(text: str) -> str | None:
    """Return a path in its one plain form, None where it climbs or could be read in two ways."""
    if len(text) > PATH_MAX_CHARS or not text:
        return None
    if "%" in text and not _decodes_plainly(text):
        return None
    if not text.isascii() and not _folds_plainly(text):
        return None
    return _plain(text)


def path_under(text: str, root: str) -> bool:
    """Tell whether a path is `root` or lies below it; `root` is in its plain form."""
    path = lexical_path(text)
    if path is None:
        return False
    if root == "/":
        return path.startswith("/")
    if path == root or (path.startswith(root) and path[len(root)] == "/"):
        return "%" not in path or _decoded_under(path, root)
    return False


def _decoded_under(path: str, root: str) -> bool:
    plain = _plain(_decoded(path) or "")
    return plain is not None and (plain == root or plain.startswith(f"{root}/"))


def _plain(text: str) -> str | None:
    if not text.isprintable() or text[:1] == "~" or _DRIVE.match(text):
        return None
    if "." not in text and "//" not in text and " " not in text and _SLASHES.isdisjoint(text):
        return text if len(text) == 1 or text[-1] != "/" else text[:-1]
    if not _SLASHES.isdisjoint(text):
        return None
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if any(_ODD_SEGMENT.fullmatch(part) or part.endswith((" ", "..")) for part in parts):
        return None
    joined = "/".join(parts)
    return f"/{joined}" if text[0] == "/" else joined or None


def _decoded(text: str) -> str | None:
    """Return what percent signs hide, None where it is not text or goes on too long."""
    for _ in range(DECODINGS_MAX):
        try:
            once = unquote(text, errors="strict")
        except UnicodeDecodeError:
            return None
        if once == text:
            return text
        text = once
    return None


def _decodes_plainly(text: str) -> bool:
    decoded = _decoded(text)
    if decoded is None:
        return False
    if not decoded.isascii() and not _folds_plainly(decoded):
        return False
    plain = _plain(decoded)
    return plain is not None and decoded.count("/") == text.count("/")


def _folds_plainly(text: str) -> bool:
    """Tell whether letters beyond ASCII stay clear of dots and slashes under every reading."""
    if not _SLASHES.isdisjoint(text):
        return False
    folded = unicodedata.normalize("NFKC", text)
    if any(folded.count(one) != text.count(one) for one in "./\\%~"):
        return False
    return not any(unicodedata.category(one) in ("Cf", "Cc", "Cs") for one in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlPlace:
    """Where a URL leads: scheme, host in lower case, port, path in its plain form."""

    scheme: str
    host: str
    port: int
    path: str


def url_place(text: str) -> UrlPlace | None:
    """Return where a URL leads, None where that could be read in two ways."""
    found = _URL.fullmatch(text) if len(text) <= PATH_MAX_CHARS and text.isprintable() else None
    if found is None or " " in text or "\\" in text:
        return None
    scheme, authority = found[1].lower(), found[2]
    if not authority.isascii() or "@" in authority or "%" in authority:
        return None
    host, port = _host_and_port(authority)
    number = _PORTS.get(scheme, 0) if port == "" else int(port) if _is_port(port) else 0
    path = lexical_path(found[3] or "/")
    if not host or not 0 < number < 65536 or path is None:
        return None
    return UrlPlace(scheme=scheme, host=host, port=number, path=path)


def plain_host(text: str) -> str:
    """Return a host in its one plain form; empty where it is none, or an address in disguise."""
    if not text.isascii() or len(text) > 255:
        return ""
    host = text.lower().removesuffix(".")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host).compressed
        except ValueError:
            return ""
    if _NUMERIC.fullmatch(host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            return ""
    return host if len(host) <= 253 and _HOST.fullmatch(host) else ""


def host_within(host: str, pattern: str) -> bool:
    """Tell whether a plain host is named by `example.org`, `*.example.org` (names below it alone) or `*`."""
    if pattern == "*":
        return True
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1 and "xn--" not in host
    return host == pattern


def _host_and_port(authority: str) -> tuple[str, str]:
    if authority.startswith("["):
        host, bracket, rest = authority.partition("]")
        port = rest[1:] if rest.startswith(":") else ""
        return (plain_host(f"{host}]"), port) if bracket and rest in ("", f":{port}") else ("", "")
    host, colon, port = authority.partition(":")
    return ("", "") if colon and not port else (plain_host(host), port)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5
