"""Which address a provider may have: where a key may travel, and never where a machine keeps its own secrets.

A provider on this machine or in the operator's networks is normal. A metadata service is none, under
whatever name or spelling it comes, so a name is looked at again after it was resolved.
"""

import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final
from urllib.parse import unquote, urlsplit

import certifi

from hive.core.drivers import query_of
from hive.core.errors import ConfigError
from hive.core.secret import Secret
from hive.protocols.egress.addresses import is_of_a_network, system_resolve

OPTIONS: Final = frozenset({"wires", "api-version", "ca"})
_METADATA_HOSTS: Final = frozenset({"metadata", "metadata.google.internal", "instance-data"})
_METADATA_ADDRESSES: Final = frozenset({"fd00:ec2::254", "100.100.100.200", "192.0.0.192"})
_LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderPlace:
    """Where a provider is; `only_loopback` where the key travels unencrypted."""

    address: str
    scheme: str
    host: str
    port: int
    path: str
    only_loopback: bool
    options: Mapping[str, str]


def provider_place(url: str, key: Secret, *, example: str, default: str = "") -> ProviderPlace:
    """Read a driver URL such as `openai:https://host/v1?wires=chat`.

    Raises:
        ConfigError: it is no address, the key would travel in the clear, or it is a metadata service.

    """
    address = url.partition("?")[0].partition(":")[2].rstrip("/") or default
    if "#" in url or "\\" in url:
        raise _unusable(example)
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _unusable(example) from error
    only_loopback = parts.scheme == "http" and bool(key)
    plain_is_fine = not only_loopback or host in _LOOPBACK_HOSTS
    usable = parts.scheme == "https" or (parts.scheme == "http" and plain_is_fine)
    clean = _HOST.fullmatch(host) and _PATH.fullmatch(parts.path) and ".." not in parts.path
    if not usable or not clean or "@" in parts.netloc:
        raise _unusable(example)
    _refuse_metadata(host)
    return ProviderPlace(
        address=address,
        scheme=parts.scheme,
        host=host,
        port=port or {"http": 80, "https": 443}[parts.scheme],
        path=parts.path.rstrip("/"),
        only_loopback=only_loopback,
        options=_options(url, example),
    )


def upstream_url(url: str, key: Secret, *, example: str) -> str:
    """Return the address in a driver URL such as `openai:https://host/v1`.

    Raises:
        ConfigError: it is no address, or the key would travel in the clear.

    """
    return provider_place(url, key, example=example).address


def is_metadata(address: str) -> bool:
    """Tell whether an address is where a machine of a cloud asks for its own secrets, or no host's at all."""
    return address in _METADATA_ADDRESSES or not is_of_a_network(address)


def _options(url: str, example: str) -> Mapping[str, str]:
    found = query_of(url)
    unknown = sorted(set(found) - OPTIONS)
    if unknown:
        raise ConfigError(
            "A model provider's URL has an option that is not known.",
            why=f"{unknown[0][:40]!r} is none of {', '.join(sorted(OPTIONS))}.",
            fix=f"Write it as `{example}`; a key is never part of it.",
        )
    return found


def _refuse_metadata(host: str) -> None:
    name = host.lower().rstrip(".")
    if name in _METADATA_HOSTS or any(is_metadata(one) for one in _literal(name)):
        raise ConfigError(
            "A model provider cannot be there.",
            why="That address is a machine's own metadata service, or no host's.",
            fix="Name the provider's own address.",
        )


def _literal(host: str) -> Iterable[str]:
    """Return the address that a host is, in whatever spelling; nothing where it is a name."""
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        pass
    try:
        # 2852039166, 0xa9fea9fe and 169.254.43518 are addresses for every resolver.
        return (socket.inet_ntoa(socket.inet_aton(host)),)
    except OSError:
        return ()


def _unusable(example: str) -> ConfigError:
    return ConfigError(
        "The URL of the model provider names no address that can be used.",
        why="It needs a host and https (plain http only on this machine or without a key).",
        fix=f"Write it as `{example}`.",
    )


async def screened_addresses(host: str, port: int, *, only_loopback: bool) -> tuple[str, ...]:
    """Return the addresses of a host that a provider may have; none where all of them are refused.

    Raises:
        EngineError: its name has none.

    """
    found = tuple(_literal(host)) or tuple(await system_resolve(host, port))
    return tuple(
        one for one in found if not is_metadata(one) and (not only_loopback or _is_loopback(one))
    )


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


@cache
def trusted_roots(ca: str = "") -> ssl.SSLContext:
    """Return the TLS context of providers; loading its roots takes long, so it is made once.

    `ca` is a file of authorities that are trusted beside the public ones, as it stands in a URL.

    Raises:
        ConfigError: it cannot be read.

    """
    roots = ssl.create_default_context(cafile=certifi.where())
    try:
        if ca:
            roots.load_verify_locations(cafile=unquote(ca))
    except (OSError, ValueError) as error:
        raise ConfigError(
            "The certificate authorities cannot be read.",
            why=f"{ca[:200]}: {error}",
            fix="Correct HIVE_SSL_CERT_FILE (or SSL_CERT_FILE), or unset it.",
        ) from error
    return roots
