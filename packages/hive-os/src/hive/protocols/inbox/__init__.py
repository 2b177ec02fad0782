"""The inbox door: what arrives on the bus for agents of this node.

Whoever can write on the bus is a stranger. An envelope that a known node signed for this node makes a call
of it, which the gate judges like any other.
"""

from hive.protocols.inbox.body import CallBody, ReplyBody, read_call, read_reply, write_call
from hive.protocols.inbox.door import BUCKET, InboxDoor, InboxLimits
from hive.protocols.inbox.requests import request_agent

__all__ = [
    "BUCKET",
    "CallBody",
    "InboxDoor",
    "InboxLimits",
    "ReplyBody",
    "read_call",
    "read_reply",
    "request_agent",
    "write_call",
]
