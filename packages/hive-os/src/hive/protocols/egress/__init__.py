"""The egress door: the only way from a sandbox to another host, an HTTP proxy on the sandbox's socket.

It speaks CONNECT and plain `http://` requests. A host is reached when the gate admits it; the node, not
the agent, resolves the name, and connects to the very address that it checked.
"""

from hive.protocols.egress.addresses import Resolve, system_resolve
from hive.protocols.egress.door import EgressDoor, EgressLimits
from hive.protocols.egress.heads import ProxyHead, Target, parse_head

__all__ = [
    "EgressDoor",
    "EgressLimits",
    "ProxyHead",
    "Resolve",
    "Target",
    "parse_head",
    "system_resolve",
]
