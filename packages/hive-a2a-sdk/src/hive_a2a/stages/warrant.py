"""May this caller do this, on somebody's behalf? A warrant says what, a proof says who holds it.

A call shows a warrant in the header `A2A-Warrant` and a proof of possession in `A2A-Warrant-Proof`. What is
checked is a closed world: the call becomes a tool with arguments, and an argument that the warrant
does not name is refused as much as one that it forbids.

    tool        the skill that the message names, else `a2a.<Method>`
    agent       the audience of this server
    method      the method, since a skill can be called in several ways
    skill, tenant, context, task
    text_bytes, file_bytes, parts
    url         the URL of a file part; the second one is `url_2`, and so on
    push_url    where changes are to be sent, if the call says so; references, a list: tasks that it refers to
    data.a.b    the leaves of data parts, by their path; lists of scalars as they are

This module knows the port and the call; `hive_a2a.stages.tenuo_warrants` is the engine.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from hive_a2a.call import Proto, WireCall
from hive_a2a.clock import WallClock
from hive_a2a.faults import WireFault, invalid, refused_by
from hive_a2a.once import OnceFullError, OnceMemory
from hive_a2a.ports import Stage
from hive_a2a.stages.counters import SharedCounters
from hive_a2a.stages.digest import TooDeepError, message_of, push_of, request_digest

Scalar: TypeAlias = str | int | float | bool | None
Argument: TypeAlias = Scalar | list[Scalar]

WARRANT_HEADER: Final = "a2a-warrant"
PROOF_HEADER: Final = "a2a-warrant-proof"
TOOL_PREFIX: Final = "a2a."
PROOF_PREFIX: Final = "v1."
WARRANT_MAX_CHARS: Final = 32_768
ARGUMENTS_MAX: Final = 128
DEPTH_MAX: Final = 16
NONCE_BYTES: Final = 16
NONCES_MAX: Final = 200_000
PROOF_AGE_MAX_S: Final = 60
PROOF_AHEAD_MAX_S: Final = 30
"""How far the client's clock may run ahead."""
_PROOF: Final = struct.Struct(f">Q{NONCE_BYTES}s64s")
FACT: Final = "warrant"
"""Where `WireCall.facts` holds the `ShownWarrant` that passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A proof of possession: when it was made, a nonce for this call alone, a signature over both and the call."""

    made_at: int
    nonce: bytes
    signature: bytes

    def header(self) -> str:
        """Write it as the header has it."""
        packed = _PROOF.pack(self.made_at, self.nonce, self.signature)
        return PROOF_PREFIX + urlsafe_b64encode(packed).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownWarrant:
    """What passed: for the handler, the guards and the record."""

    ids: tuple[str, ...]
    root: str
    holder: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WarrantQuestion:
    """What an engine is asked: may the holder of `chain` use `tool` so? `bound` is what the proof covers."""

    chain: str
    proof: Proof
    tool: str
    arguments: Mapping[str, Argument]
    bound: Mapping[str, Argument]


class WarrantCheck(Protocol):
    """An engine that verifies warrants."""

    def verify(self, question: WarrantQuestion) -> ShownWarrant:
        """Verify chain, proof, expiry, revocation and arguments, without waiting.

        Raises:
            WarrantRefusedError: anything is wrong.

        """
        ...


class WarrantRefusedError(Exception):
    """A warrant does not allow the call; the text is for the record, `told` for the caller."""

    def __init__(self, told: str, *, detail: str = "") -> None:
        super().__init__(detail or told)
        self.told = told


class NonceStore(Protocol):
    """Remembers the nonces of proofs for as long as a proof may be shown."""

    async def claim(self, nonce: bytes, *, until: float) -> bool:
        """Take a nonce; False where it was taken before, or nothing more can be remembered."""
        ...


class MemoryNonces:
    """The nonces of this process; full of fresh ones, it takes no more: forgetting one would let it be replayed."""

    def __init__(self, clock: WallClock, *, nonces_max: int = NONCES_MAX) -> None:
        self._clock = clock
        self._memory = OnceMemory(entries_max=nonces_max)

    def __len__(self) -> int:
        return len(self._memory)

    async def claim(self, nonce: bytes, *, until: float) -> bool:
        """Take a nonce; False where it was taken before, or nothing more can be remembered."""
        try:
            return self._memory.first_use(nonce, until=until, now=self._clock.now().timestamp())
        except OnceFullError:
            return False


class SharedNonces:
    """Nonces that several servers share, so that none can be replayed at another."""

    def __init__(self, store: SharedCounters, clock: WallClock) -> None:
        self._store = store
        self._clock = clock

    async def claim(self, nonce: bytes, *, until: float) -> bool:
        """Take a nonce; False where it was taken before, or nothing more can be remembered."""
        ttl_s = max(1.0, until - self._clock.now().timestamp())
        return await self._store.swap(f"nonce/{nonce.hex()}", b"1", revision=None, ttl_s=ttl_s)


class WarrantStage:
    """The stage. `audience` is this server, as clients name it in their proofs."""

    def __init__(
        self,
        *,
        audience: str,
        clock: WallClock,
        check: WarrantCheck | None = None,
        nonces: NonceStore | None = None,
        required: bool = False,
    ) -> None:
        self._audience = audience
        self._clock = clock
        self._check = check
        self._nonces: NonceStore = MemoryNonces(clock) if nonces is None else nonces
        self._required = required

    async def admit(self, call: WireCall) -> None:
        """Let a call pass whose warrant allows it, or that needs none.

        Raises:
            WireFault: the warrant is missing, not valid, or does not allow the call.

        """
        chain = call.head.headers.get(WARRANT_HEADER, "")
        if not chain:
            if self._required or PROOF_HEADER in call.head.headers:
                raise _no("This agent answers only calls with a warrant.", detail="no warrant")
            return
        if self._check is None:
            raise _no("This agent trusts nobody's warrants; call without.", detail="no roots")
        if len(chain) > WARRANT_MAX_CHARS:
            raise _no("The warrant is too long.", detail=f"{len(chain)} characters")
        proof = self._fresh(read_proof(call.head.headers.get(PROOF_HEADER, "")))
        arguments = arguments_of(call, self._audience)
        question = WarrantQuestion(
            chain=chain,
            proof=proof,
            tool=tool_of(call.method, call.skill),
            arguments=arguments,
            bound=bound_to(
                method=call.method,
                params=call.params,
                tenant=call.tenant,
                audience=self._audience,
                nonce=proof.nonce,
                made_at=proof.made_at,
            ),
        )
        try:
            shown = self._check.verify(question)
        except WarrantRefusedError as error:
            raise _no(error.told, detail=str(error)) from None
        # Only what verified may fill the store.
        until = proof.made_at + PROOF_AGE_MAX_S + PROOF_AHEAD_MAX_S
        if not await self._nonces.claim(shown.holder.encode() + proof.nonce, until=until):
            raise _no("The proof was shown before.", detail="replay, or the nonce store is full")
        call.facts[FACT] = shown

    def _fresh(self, proof: Proof) -> Proof:
        age_s = self._clock.now().timestamp() - proof.made_at
        if not -PROOF_AHEAD_MAX_S <= age_s <= PROOF_AGE_MAX_S:
            raise _no("The proof is too old, or from the future.", detail=f"{age_s:.0f} s old")
        return proof


def read_proof(header: str) -> Proof:
    """Parse the header of a proof.

    Raises:
        WireFault: it is none.

    """
    try:
        if not header.startswith(PROOF_PREFIX):
            raise ValueError  # noqa: TRY301 - one answer to everything that is no proof
        text = header.removeprefix(PROOF_PREFIX).encode("ascii")
        packed = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
        made_at, nonce, signature = _PROOF.unpack(packed)
        proof = Proof(made_at=made_at, nonce=nonce, signature=signature)
        if proof.header() != header:
            raise ValueError  # noqa: TRY301 - the decoder skips what is not base64
    except (ValueError, struct.error):
        raise _no("The proof of possession is not one.", detail="format") from None
    return proof


def tool_of(method: str, skill: str) -> str:
    """Return what a call is in a warrant.

    Raises:
        WireFault: the skill has the name of a method.

    """
    if skill.startswith(TOOL_PREFIX):
        raise invalid("A skill cannot have the name of a method.")
    return skill or TOOL_PREFIX + method


def bound_to(
    *, method: str, params: Proto, tenant: str, audience: str, nonce: bytes, made_at: int
) -> dict[str, Argument]:
    """Return what a proof covers; client and server compute the same.

    Raises:
        WireFault: a data part is nested too deeply.

    """
    try:
        digest = request_digest(method, params, tenant=tenant)
    except TooDeepError:
        raise invalid("A data part is nested too deeply.") from None
    return {
        "audience": audience,
        "made_at": str(made_at),
        "method": method,
        "nonce": nonce.hex(),
        "request": digest.hex(),
    }


def arguments_of(call: WireCall, audience: str) -> dict[str, Argument]:
    """Return what a call asks for, as the arguments that a warrant constrains.

    Raises:
        WireFault: more than a warrant could name, or the same name twice.

    """
    params = call.params
    message = message_of(params)
    found: dict[str, Argument] = {
        "agent": audience,
        "method": call.method,
        "skill": call.skill,
        "tenant": call.tenant,
    }
    push = push_of(params)
    if push is not None:
        found["push_url"] = push.url
    if message is None:
        found["context"] = str(getattr(params, "context_id", ""))
        found["task"] = str(getattr(params, "task_id", "") or getattr(params, "id", ""))
        return found
    found["context"] = message.context_id
    found["task"] = message.task_id
    if message.reference_task_ids:
        found["references"] = list(message.reference_task_ids)
    found["parts"] = len(message.parts)
    text_bytes = file_bytes = urls = 0
    for part in message.parts:
        kind = part.WhichOneof("content")
        if kind == "text":
            text_bytes += len(part.text.encode())
        elif kind == "raw":
            file_bytes += len(part.raw)
        elif kind == "url":
            urls += 1
            _put(found, "url" if urls == 1 else f"url_{urls}", part.url)
        elif kind == "data":
            _leaves(found, "data", part.data, DEPTH_MAX)
    found["text_bytes"] = text_bytes
    found["file_bytes"] = file_bytes
    return found


def _leaves(found: dict[str, Argument], name: str, value: Proto, depth_left: int) -> None:
    if depth_left == 0:
        raise invalid("A data part is nested deeper than a warrant can name.")
    kind = value.WhichOneof("kind")
    if kind == "struct_value" and value.struct_value.fields:
        for key, one in value.struct_value.fields.items():
            _leaves(found, f"{name}.{key}", one, depth_left - 1)
    elif kind == "list_value":
        values = value.list_value.values
        if any(one.WhichOneof("kind") in ("struct_value", "list_value") for one in values):
            for number, one in enumerate(values):
                _leaves(found, f"{name}.{number}", one, depth_left - 1)
        else:
            _put(found, name, [_scalar(one) for one in values])
    else:
        _put(found, name, _scalar(value))


def _scalar(value: Proto) -> Scalar:
    kind = value.WhichOneof("kind")
    if kind in ("string_value", "number_value", "bool_value"):
        scalar: Scalar = getattr(value, kind)
        return scalar
    return None


def _put(found: dict[str, Argument], name: str, value: Argument) -> None:
    if name in found:
        raise invalid("Two data parts give one argument two values.")
    if len(found) >= ARGUMENTS_MAX:
        raise invalid("The message has more arguments than a warrant can name.")
    found[name] = value


def _no(told: str, *, detail: str) -> WireFault:
    return refused_by(str(Stage.WARRANT), told, detail=detail)
