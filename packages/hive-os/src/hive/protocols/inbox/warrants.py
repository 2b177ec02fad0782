"""The warrant that another node's message comes with: held by that node's key, which has signed the envelope.

So the envelope is the proof of possession: its signature covers the message and a nonce that is claimed once.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from hive.core.call import Refused
from hive.core.errors import IdentityError
from hive.core.ids import NodeId
from hive.mesh import Envelope
from hive.mesh.ports import Peers
from hive.security.capability.warrant import Warrant

Verify: TypeAlias = Callable[[str], Warrant]
"""Verify a chain. Raises IdentityError."""
CHECK: Final = "warrant"


def warrant_in(envelope: Envelope, peers: Peers, verify: Verify | None) -> Warrant | Refused | None:
    """Return the warrant of an envelope, None where it has none, or why it counts for nothing."""
    if not envelope.warrants:
        return None
    if verify is None or len(envelope.warrants) != 1:
        return Refused(check=CHECK, reason="one warrant is honoured here, and only by its chain")
    try:
        warrant = verify(envelope.warrants[0])
    except IdentityError as error:
        return Refused(check=CHECK, reason=error.what, detail=error.why or "")
    peer = peers.get(NodeId(envelope.sender))
    if peer is None or warrant.holder != peer.signing.hex():
        return Refused(check=CHECK, reason="the warrant is held by another than who sends")
    return warrant
