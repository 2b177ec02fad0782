"""How a message finds an agent: the subjects of the bus, and the envelopes that travel on it.

The bus is a wire that strangers may write on. Who speaks is proved by the envelope alone.
"""

from hive.mesh.envelope import (
    Envelope,
    Escrow,
    NodeKeys,
    Notice,
    Sender,
    open_envelope,
    open_notice,
    seal,
    sign_notice,
)
from hive.mesh.ports import PeerKeys, Peers, StaticPeers
from hive.mesh.subjects import (
    Subject,
    SubjectKind,
    agent_inbox,
    agent_status,
    broadcast,
    group_events,
    parse_subject,
    task_queue,
)

__all__ = [
    "Envelope",
    "Escrow",
    "NodeKeys",
    "Notice",
    "PeerKeys",
    "Peers",
    "Sender",
    "StaticPeers",
    "Subject",
    "SubjectKind",
    "agent_inbox",
    "agent_status",
    "broadcast",
    "group_events",
    "open_envelope",
    "open_notice",
    "parse_subject",
    "seal",
    "sign_notice",
    "task_queue",
]
