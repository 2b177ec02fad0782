"""Where a tool server is, read from its URL; which addresses it may have is decided when it is connected to."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

from hive.core.errors import ConfigError
from hive.protocols.models.addresses import ProviderPlace

URL_MAX_CHARS: Final = 2048
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_TARGET: Final = re.compile(r"/[\x21-\x7e]*")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A URL in parts: `target` is the path with its query, `authority` the host as a header names it."""

    url: str
    scheme: str
    host: str
    port: int
    authority: str
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Return what a redirect must not leave."""
        return self.scheme, self.host.lower(), self.port

    def place(self, *, only_loopback: bool) -> ProviderPlace:
        """Return it as the connections want it."""
        return ProviderPlace(
            address=self.url,
            scheme=self.scheme,
            host=self.host,
            port=self.port,
            path=self.target,
            only_loopback=only_loopback,
            options={},
        )

    def joined(self, reference: str) -> "ServerAddress":
        """Return what a reference that the server sent leads to.

        Raises:
            ConfigError: it cannot be one.

        """
        try:
            there = urljoin(self.url, reference)
        except ValueError as error:
            raise _unusable() from error
        return server_address(there)


def server_address(url: str) -> ServerAddress:
    """Read the URL of a server.

    Raises:
        ConfigError: it is none, or has a user in it.

    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _unusable() from error
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fits = len(url) <= URL_MAX_CHARS and parts.scheme in _PORTS and "@" not in parts.netloc
    if not fits or not _HOST.fullmatch(host) or not _TARGET.fullmatch(target):
        raise _unusable()
    authority = f"[{host}]" if ":" in host else host
    if port is not None and port != _PORTS[parts.scheme]:
        authority = f"{authority}:{port}"
    return ServerAddress(
        url=url,
        scheme=parts.scheme,
        host=host,
        port=port or _PORTS[parts.scheme],
        authority=authority,
        target=target,
    )


def _unusable() -> ConfigError:
    return ConfigError(
        "The URL of the tool server names no address that can be used.",
        why="It needs http or https and a host, and no user or fragment.",
        fix="Write it as `https://host/mcp`.",
    )
