"""The door for guests that prove what they are: a challenge, then evidence, then the key of their image, sealed to them.

Open to everybody: evidence vouches for itself. What a stranger costs is bounded in size and in how much is judged at a
time, and nothing is written for him.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import anyio
import msgspec

from hive.confidential import EvidenceDocument, ReleaseChallenge
from hive.confidential.ports import EVIDENCE_MAX_BYTES
from hive.core.errors import BadInputError, HiveError, TooLargeError
from hive.core.json import DEPTH_MAX, depth_exceeds

log: Final = logging.getLogger(__name__)
BODY_MAX_BYTES: Final = 2 * EVIDENCE_MAX_BYTES
BODY_TIMEOUT_S: Final = 10.0
JUDGED_AT_ONCE_MAX: Final = 2
WAIT_MAX_S: Final = 10.0
IMAGE_MAX_CHARS: Final = 63

_OrderT = TypeVar("_OrderT")
_Message: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]


class GuestOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A guest asks for a challenge, and says which image it is."""

    image: str


class ChallengeTold(msgspec.Struct, frozen=True, kw_only=True):
    """What it has to bind into its evidence, and until when."""

    nonce: bytes
    ends_at: datetime


class ReleaseOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A guest's answer; `public_key` is its ephemeral key (X25519, 32 bytes)."""

    image: str
    nonce: bytes
    public_key: bytes
    evidence: EvidenceDocument


class ReleaseTold(msgspec.Struct, frozen=True, kw_only=True):
    """The image's key, sealed to the guest."""

    sealed: bytes


class ReleaseDesk(Protocol):
    """What releases keys."""

    def challenge(self, image: str) -> ReleaseChallenge:
        """Make a challenge."""
        ...

    async def release(
        self, image: str, nonce: bytes, public_key: bytes, evidence: EvidenceDocument
    ) -> bytes:
        """Return the image's key, sealed. Raises AttestationError, MissingExtraError, ConfigError."""
        ...


class AttestationDoor:
    """An ASGI application with two paths: `challenge` and `release`."""

    def __init__(self, desk: ReleaseDesk) -> None:
        self._desk = desk
        self._judging = anyio.Semaphore(JUDGED_AT_ONCE_MAX)

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        verb = (scope["method"], scope["path"].rpartition("/")[2])
        try:
            match verb:
                case ("POST", "challenge"):
                    answer: object = await self._challenge(receive)
                case ("POST", "release"):
                    answer = await self._release(receive)
                case _:
                    await _told(send, 404, _error("E040", "There is nothing at this address.", ""))
                    return
        except TimeoutError:
            await _told(send, 503, _error("E021", "The node is busy.", "Ask again."))
        except (BadInputError, TooLargeError) as error:
            await _told(send, 400, _error(error.code, error.what, error.why))
        except HiveError as error:
            log.warning("attestation.refused", extra={"why": error.why})
            await _told(send, 403, _error(error.code, error.what, error.why))
        else:
            await _told(send, 200, answer)

    async def _challenge(self, receive: _Receive) -> ChallengeTold:
        asked = _decoded(await _body(receive), GuestOrder)
        made = self._desk.challenge(asked.image[:IMAGE_MAX_CHARS])
        return ChallengeTold(nonce=made.nonce, ends_at=made.ends_at)

    async def _release(self, receive: _Receive) -> ReleaseTold:
        asked = _decoded(await _body(receive), ReleaseOrder)
        with anyio.fail_after(WAIT_MAX_S):
            await self._judging.acquire()
        try:
            sealed = await self._desk.release(
                asked.image, asked.nonce, asked.public_key, asked.evidence
            )
        finally:
            self._judging.release()
        return ReleaseTold(sealed=sealed)


def _decoded(body: bytes, kind: type[_OrderT]) -> _OrderT:
    if depth_exceeds(body, DEPTH_MAX):
        raise BadInputError("The request is nested too deep.")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInputError("The request is not as it has to be.", why=str(error)[:200]) from error


async def _body(receive: _Receive) -> bytes:
    body = b""
    with anyio.fail_after(BODY_TIMEOUT_S):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise BadInputError("The request ended early.")
            piece: bytes = message.get("body", b"")
            body += piece
            if len(body) > BODY_MAX_BYTES:
                raise TooLargeError(f"The request has more than {BODY_MAX_BYTES} bytes.")
            if not message.get("more_body", False):
                return body


def _error(code: str, what: str, why: str) -> object:
    return {"error": {"code": code, "what": what, "why": why}}


async def _told(send: _Send, status: int, answer: object) -> None:
    data = msgspec.json.encode(answer)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(data)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
