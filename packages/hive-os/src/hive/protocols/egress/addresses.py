"""Which addresses may be connected to, decided after the name is resolved and before the connect.

An address inside the machine or its networks is never reached by name: a name can be made to point
anywhere, at any moment. It is reached only where the grant names the address itself.
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import anyio

from hive.core.errors import EngineTimeoutError, EngineUnavailableError

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Give the addresses of a name, in order of preference."""

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = (
    ipaddress.IPv6Network("64:ff9b::/96"),
    ipaddress.IPv6Network("64:ff9b:1::/48"),
)
_CARRIER: Final = ipaddress.IPv4Network("100.64.0.0/10")
ADDRESSES_MAX: Final = 8
RESOLVE_TIMEOUT_S: Final = 10.0


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Ask the machine's resolver.

    Raises:
        EngineUnavailableError: the name has no address.
        EngineTimeoutError: no answer in time.

    """
    try:
        with anyio.fail_after(RESOLVE_TIMEOUT_S):
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise EngineTimeoutError("A host's name was not resolved in time.") from error
    except (OSError, UnicodeError) as error:
        raise EngineUnavailableError("A host's name has no address.") from error
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    return tuple(addresses)[:ADDRESSES_MAX]


def is_public(address: str) -> bool:
    """Tell whether an address lies in the public internet, whatever it is wrapped in."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return all(_is_public(one) for one in (parsed, *_inside(parsed)))


def is_of_a_network(address: str) -> bool:
    """Tell whether an address can be a host in an operator's own networks: no metadata service, no group."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not any(
        one.is_link_local or one.is_multicast or one.is_unspecified
        for one in (parsed, *_inside(parsed))
    )


def _is_public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address) and address in _CARRIER:
        return False
    return address.is_global and not (
        address.is_multicast
        or address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_reserved
        or address.is_unspecified
    )


def _inside(address: _Address) -> tuple[_Address, ...]:
    """Return the IPv4 addresses that an IPv6 address carries."""
    if not isinstance(address, ipaddress.IPv6Address):
        return ()
    carried: list[_Address] = [
        one for one in (address.ipv4_mapped, address.sixtofour) if one is not None
    ]
    carried += address.teredo or ()
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if any(address in network for network in _NAT64) or int(address) >> 32 == 0:
        carried.append(low)
    return tuple(carried)
