"""Ask an agent of a known node over the bus, and read its sealed answer."""

from typing import Literal

from hive.core.call import sha256_hex
from hive.core.clock import Clock
from hive.core.errors import IdentityError
from hive.core.ids import CallId
from hive.core.randomness import Randomness
from hive.core.task import Message
from hive.engines.ports import Bus
from hive.mesh import Envelope, NodeKeys, PeerKeys, Sender, StaticPeers, open_envelope, seal
from hive.mesh.envelope import lifetime
from hive.protocols.inbox.body import ReplyBody, read_reply, write_call
from hive.protocols.inbox.replies import NONCE_BYTES


async def request_agent(
    bus: Bus,
    subject: str,
    message: Message,
    *,
    call_id: CallId,
    sender: Sender,
    keys: NodeKeys,
    audience: PeerKeys,
    clock: Clock,
    randomness: Randomness,
    timeout_s: float = 60.0,
    attempt: int = 1,
    answer: Literal["accepted", "settled"] = "settled",
    traceparent: str = "",
) -> ReplyBody:
    """Send a message to a subject of another node; return what became of it.

    Asking again with the same `call_id` and a higher `attempt` starts nothing new.

    Raises:
        NoResponderError: nobody listens there.
        EngineTimeoutError: no answer in time.
        IdentityError: the answer is not that node's.

    """
    body = write_call(message)
    issued_ms, expires_ms = lifetime(clock.now(), seconds=timeout_s)
    envelope = Envelope(
        call_id=call_id,
        sender=keys.node,
        audience=audience.node,
        subject=subject,
        principal=sender,
        issued_ms=issued_ms,
        expires_ms=expires_ms,
        body_hash=sha256_hex(body),
        nonce=randomness.token(NONCE_BYTES).hex(),
        attempt=attempt,
        answer=answer,
        traceparent=traceparent,
    )
    sealed = seal(envelope, body, keys=keys, audience=audience)
    reply = await bus.request(subject, sealed, timeout_s=timeout_s)
    peers = StaticPeers([audience])
    opened, content = open_envelope(
        reply.data, subject=subject, keys=keys, peers=peers, now=clock.now(), purpose="reply"
    )
    return _answer_to(call_id, opened, content)


def _answer_to(call_id: CallId, opened: Envelope, content: bytes) -> ReplyBody:
    if opened.call_id != call_id:
        raise IdentityError("An answer was refused.", why="It answers another call.")
    return read_reply(content)
