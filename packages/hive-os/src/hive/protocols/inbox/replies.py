"""Sealed answers to the node that asked, on the subject where it waits."""

from typing import Final

from hive.core.call import sha256_hex
from hive.core.clock import Clock
from hive.core.errors import IdentityError
from hive.core.ids import NodeId
from hive.core.randomness import Randomness
from hive.engines.ports import Bus, BusMessage
from hive.mesh import Envelope, NodeKeys, Peers, Sender, seal
from hive.mesh.envelope import lifetime

REPLY_LIFETIME_S: Final = 60.0
NONCE_BYTES: Final = 16


class ReplySender:
    """Seal replies for the asking node; nobody else on the bus can read or make one."""

    def __init__(
        self, *, bus: Bus, keys: NodeKeys, peers: Peers, clock: Clock, randomness: Randomness
    ) -> None:
        self._bus = bus
        self._keys = keys
        self._peers = peers
        self._clock = clock
        self._randomness = randomness

    async def send(self, message: BusMessage, envelope: Envelope, body: bytes) -> None:
        """Answer a message that asked for an answer.

        Raises:
            IdentityError: the asking node is known no longer.
            EngineError: the bus is away.

        """
        if not message.reply:
            return
        audience = self._peers.get(NodeId(envelope.sender))
        if audience is None:
            raise IdentityError("The node that asked is known no longer.")
        issued_ms, expires_ms = lifetime(self._clock.now(), seconds=REPLY_LIFETIME_S)
        reply = Envelope(
            call_id=envelope.call_id,
            sender=self._keys.node,
            audience=audience.node,
            subject=envelope.subject,
            principal=Sender(kind="node", name=self._keys.node, owner=self._keys.node),
            issued_ms=issued_ms,
            expires_ms=expires_ms,
            body_hash=sha256_hex(body),
            nonce=self._randomness.token(NONCE_BYTES).hex(),
            attempt=envelope.attempt,
            purpose="reply",
            traceparent=envelope.traceparent,
        )
        data = seal(reply, body, keys=self._keys, audience=audience)
        await self._bus.publish(message.reply, data)
