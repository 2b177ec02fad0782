"""Warrants in the open format of `tenuo`: one signed link after the other, each bound to the key that may go on.

Terms stand in one capability, `hive.terms`, whose condition is "contains all of these": a link may add terms, and the
format itself refuses one that takes any away. Beside it stand the methods of A2A, so that the holder may
show the warrant at any door of the SDK. Warrants of others, without `hive.terms`, are read as far as they
can be (`tenuo_native`).
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
import tenuo_core  # type: ignore[import-untyped]
from tenuo.exceptions import TenuoError

from hive.core.errors import BadInputError, ConfigError, IdentityError
from hive.security.capability.drivers.tenuo_native import native_terms
from hive.security.capability.ports import DEPTH_MAX, LINKS_MAX, MintOrder, Terms, WarrantOpening
from hive.security.capability.record import TermsLine, terms_from, terms_line
from hive.security.capability.warrant import Warrant, mark
from hive_a2a.stages.tenuo_warrants import OF_METHODS, STANDING_ARGUMENTS, HeldWarrant

TERMS_TOOL: Final = "hive.terms"
TERMS_ARGUMENT: Final = "terms"
TOKEN_MAX_CHARS: Final = 32_768
TTL_MAX_S: Final = 7_776_000
NOT_VALID: Final = "The warrant is not valid here."
NATIVE_DEPTH: Final = 1
"""Others' warrants do not say whom an agent may ask in its turn: it asks nobody."""
_SENDING: Final = ("a2a.SendMessage", "a2a.SendStreamingMessage")
_ASKING: Final = ("a2a.GetTask", "a2a.CancelTask", "a2a.SubscribeToTask")


class _Element(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One member of the list: terms, how often they may be handed on, and for which task."""

    d: int
    t: TermsLine
    n: int = 0
    task: str = ""


class _Read(NamedTuple):
    """What a chain says, nothing of it verified."""

    links: tuple[Terms, ...]
    depth: int
    task: str


class TenuoEngine:
    """Mints with the node's key, verifies what the node's key or another trusted root began."""

    def __init__(self, opening: WarrantOpening) -> None:
        self._key = tenuo_core.SigningKey.from_bytes(opening.root)
        self._clock = opening.clock
        public = self._key.public_key
        self.root: str = bytes(public.to_bytes()).hex()
        trusted = [public, *(_public(one) for one in opening.roots)]
        self.roots: tuple[bytes, ...] = tuple(bytes(one.to_bytes()) for one in trusted)
        self._engine = tenuo_core.Authorizer(trusted_roots=trusted, clock_tolerance_secs=0)

    @classmethod
    def open(cls, opening: WarrantOpening) -> "TenuoEngine":
        """Open the engine. Raises ConfigError."""
        try:
            return cls(opening)
        except (TenuoError, BadInputError, ValueError) as error:
            raise ConfigError("A root of warrants is no Ed25519 key.", why=str(error)) from None

    def mint(self, order: MintOrder) -> str:
        """Return a warrant of the node's own root as the header shows it. Raises BadInputError."""
        _admit(order)
        texts = [_element(terms, order, number) for number, terms in enumerate(order.terms)]
        free = {name: tenuo_core.Wildcard() for name in STANDING_ARGUMENTS}
        bare = {name: tenuo_core.Wildcard() for name in OF_METHODS}
        capabilities = {
            TERMS_TOOL: {TERMS_ARGUMENT: tenuo_core.Contains(texts)},
            **dict.fromkeys(_SENDING, free),
            **dict.fromkeys(_ASKING, bare),
        }
        try:
            made = tenuo_core.Warrant.issue(
                self._key, capabilities, order.ttl_s, holder=_public(order.holder)
            )
        except TenuoError as error:
            raise BadInputError("A warrant cannot be minted.", why=str(error)) from None
        return HeldWarrant((made,)).header()

    def attenuate(self, token: str, order: MintOrder, *, holder_private: bytes) -> str:
        """Hand a warrant on. Raises BadInputError."""
        _admit(order)
        chain = _chain(token)
        present = chain[-1].capabilities
        read = _read(chain)
        if TERMS_TOOL not in present:
            raise BadInputError(
                "A warrant without Hive's terms is handed on by whoever made it.",
                fix="Use `hive_a2a.stages.tenuo_warrants.attenuate_for`.",
            )
        if read.depth < 1:
            raise BadInputError("The warrant may not be handed on any further.")
        known = list(present[TERMS_TOOL][TERMS_ARGUMENT].required)
        lower = msgspec.structs.replace
        added = [
            _written(
                lower(
                    _parsed(_element(terms, order, len(known))), d=min(order.depth, read.depth - 1)
                )
            )
            for terms in order.terms
        ]
        narrower = {
            **present,
            TERMS_TOOL: {TERMS_ARGUMENT: tenuo_core.Contains([*known, *added])},
        }
        try:
            child = chain[-1].attenuate(
                narrower,
                tenuo_core.SigningKey.from_bytes(holder_private),
                order.ttl_s,
                holder=_public(order.holder),
            )
        except (TenuoError, ValueError) as error:
            raise BadInputError("A warrant cannot be handed on so.", why=str(error)) from None
        return HeldWarrant((*chain, child)).header()

    def parse(self, token: str) -> Warrant:
        """Read a warrant without trusting it. Raises BadInputError."""
        return _warrant(token, _chain(token))

    def verify(self, token: str) -> Warrant:
        """Verify a chain whole.

        Raises:
            IdentityError: it counts for nothing here.

        """
        try:
            chain = _chain(token)
            self._engine.verify_chain(list(chain))
            warrant = _warrant(token, chain)
        except (TenuoError, BadInputError) as error:
            kind = type(error).__name__
            told = {"RevokedError": "The warrant was revoked."}.get(kind, NOT_VALID)
            raise IdentityError(told, why=f"{kind}: {error}") from None
        if warrant.not_after <= self._clock.now():
            raise IdentityError("The warrant has expired.", why=f"At {warrant.not_after}.")
        return warrant

    def revocation_list(self, ids: Sequence[str], *, version: int) -> bytes:
        """Sign a list of the ids of this root that are void."""
        builder = tenuo_core.SrlBuilder().revoke_all(list(ids)).version(version)
        built: bytes = bytes(builder.build(self._key).to_bytes())
        return built

    def install(self, signed_list: bytes) -> None:
        """Take a signed revocation list of a trusted root. Raises IdentityError."""
        try:
            parsed = tenuo_core.SignedRevocationList.from_bytes(signed_list)
            present = self._engine.installed_revocation_list()
            if present is not None and parsed.version <= present.version:
                raise IdentityError("A revocation list is not newer than the present one.")
            self._engine.set_revocation_list(parsed)
        except TenuoError as error:
            raise IdentityError("A revocation list is refused.", why=str(error)) from None


def _warrant(token: str, chain: tuple[Any, ...]) -> Warrant:
    read = _read(chain)
    ids = tuple(str(one.id) for one in chain)
    issuer = bytes(chain[0].issuer.to_bytes()).hex()
    marks = {mark("root", issuer), *(mark("id", one) for one in ids)}
    ends = [datetime.fromisoformat(one.expires_at()) for one in chain]
    return Warrant(
        id=ids[-1],
        issuer=issuer,
        holder=bytes(chain[-1].authorized_holder.to_bytes()).hex(),
        links=read.links,
        not_after=min(ends),
        minted_at=min(one - timedelta(seconds=TTL_MAX_S) for one in ends),
        depth=read.depth,
        task=read.task,
        parents=ids[:-1],
        marks=frozenset(marks | ({mark("task", read.task)} if read.task else set())),
        token=token,
    )


def _read(chain: tuple[Any, ...]) -> _Read:
    """Read the terms of every link; each holds all of those before it.

    Raises:
        BadInputError: a link took terms away, or may not have been handed on.

    """
    links: list[Terms] = []
    known: set[str] = set()
    depth, task = DEPTH_MAX, ""
    for number, one in enumerate(chain):
        depth -= 1 if number else 0
        capabilities = one.capabilities
        if TERMS_TOOL not in capabilities:
            links.append(native_terms(capabilities))
            depth = min(depth, NATIVE_DEPTH)
            continue
        texts = capabilities[TERMS_TOOL][TERMS_ARGUMENT].required
        if not known <= set(texts):
            raise BadInputError("A link of the warrant took terms away.")
        for element in sorted((_parsed(text) for text in set(texts) - known), key=_place):
            links.append(terms_from(element.t))
            depth, task = min(depth, element.d), task or element.task
        known = set(texts)
    if depth < 0 or not 0 < len(links) <= LINKS_MAX:
        raise BadInputError("The chain of the warrant is too long.", why=f"{len(links)} links.")
    return _Read(tuple(links), depth, task)


def _place(element: _Element) -> int:
    return element.n


def _element(terms: Terms, order: MintOrder, number: int) -> str:
    return _written(_Element(d=order.depth, t=terms_line(terms), n=number, task=order.task))


def _written(element: _Element) -> str:
    return msgspec.json.encode(element, order="deterministic").decode()


def _parsed(text: str) -> _Element:
    try:
        return msgspec.json.decode(text, type=_Element)
    except msgspec.MsgspecError as error:
        raise BadInputError("The terms of a warrant cannot be read.", why=str(error)) from None


def _chain(token: str) -> tuple[Any, ...]:
    if len(token) > TOKEN_MAX_CHARS:
        raise BadInputError("The warrant is too long.")
    try:
        packed = b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        chain = tuple(tenuo_core.decode_warrant_stack_base64(b64encode(packed).decode()))
    except (TenuoError, binascii.Error, ValueError) as error:
        raise BadInputError("This is no warrant.", why=str(error)) from None
    if not 1 <= len(chain) <= DEPTH_MAX + 1:
        raise BadInputError("The chain of the warrant is too long.", why=f"{len(chain)} links.")
    return chain


def _public(key: bytes) -> Any:  # noqa: ANN401 - the engine has no types
    try:
        return tenuo_core.PublicKey.from_bytes(key)
    except (TenuoError, ValueError) as error:
        raise BadInputError("A holder is named by an Ed25519 key.", why=str(error)) from None


def _admit(order: MintOrder) -> None:
    if not 0 < order.ttl_s <= TTL_MAX_S or not 0 <= order.depth <= DEPTH_MAX or not order.terms:
        raise BadInputError(
            "A warrant has terms, an end and a depth.",
            why=f"At most {TTL_MAX_S // 86400} days, and handed on at most {DEPTH_MAX} times.",
        )
