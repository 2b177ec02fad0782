"""Warrants on the engine `tenuo`: mint, hand on narrower, prove, verify. The only module that imports it.

    TenuoWarrants     verifies (the server): roots it trusts, revocation lists of those roots
    mint              makes a warrant of a root key
    attenuate_for     hands a narrower one to the next agent; it can never hold more, or live longer
    proof_headers     proves possession for one call (the client)

Three holes of the engine are closed here. A glob over text allows `/data/../etc`, so a glob, an expression or
a program over a path or a URL is refused when it is minted and when it is shown. A path may hide its dots
in percent signs, which a containment check does not see. And a tool without any constraint allows
every argument, so it allows nothing here.

`tenuo_core` is the compiled half of the package and loads in milliseconds; the package around it does not.
"""

import binascii
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from hive_a2a.call import Proto
from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.errors import A2AError, needs_extra
from hive_a2a.stages.warrant import (
    DEPTH_MAX,
    NONCE_BYTES,
    PROOF_HEADER,
    WARRANT_HEADER,
    Argument,
    Proof,
    ShownWarrant,
    WarrantQuestion,
    WarrantRefusedError,
    bound_to,
    tool_of,
)

with needs_extra("warrants", "tenuo", "tenuo_core"):
    import tenuo_core  # type: ignore[import-untyped]
    from tenuo.exceptions import TenuoError

Constraint: TypeAlias = Any
"""One of `tenuo`: Exact, OneOf, Range, Subpath, UrlSafe, UrlPattern, Pattern, Wildcard."""
Tools: TypeAlias = Mapping[str, Mapping[str, Constraint]]
"""What a warrant allows: for each tool, a constraint for each argument."""

CHAIN_MAX: Final = 8
CHAINS_KEPT_MAX: Final = 1024
STANDING_ARGUMENTS: Final[tuple[str, ...]] = (
    "agent", "method", "skill", "tenant", "context", "task", "parts", "text_bytes", "file_bytes",
)  # fmt: skip
"""What every call that sends a message has; `mint` leaves them free where it is told nothing."""
OF_METHODS: Final = ("agent", "method", "skill", "tenant", "context", "task")
"""The same for a call that sends none."""
_LOOSE: Final = frozenset({"Pattern", "Regex", "CEL", "All", "AnyOf", "Not", "NotOneOf", "Shlex"})
_PATH_WORDS: Final = frozenset(
    {"path", "paths", "file", "files", "filename", "dir", "directory", "folder", "root", "cwd"}
)
_URL_WORDS: Final = frozenset(
    {"url", "urls", "uri", "href", "link", "endpoint", "webhook", "callback"}
)


class WarrantError(A2AError):
    """A warrant cannot be made."""


@dataclass(frozen=True, slots=True)
class HeldWarrant:
    """A warrant and the chain that it comes from, root first; what an agent keeps beside its key."""

    chain: tuple[Any, ...]

    @property
    def leaf(self) -> Any:  # noqa: ANN401 - the engine has no types
        """Return the warrant itself."""
        return self.chain[-1]

    @property
    def id(self) -> str:
        """Return its id, which a revocation list names."""
        return str(self.leaf.id)

    def header(self) -> str:
        """Write the chain as the header has it."""
        stack = b64decode(tenuo_core.encode_warrant_stack(list(self.chain)))
        return urlsafe_b64encode(stack).rstrip(b"=").decode()

    @classmethod
    def read(cls, header: str) -> "HeldWarrant":
        """Parse what `header` wrote.

        Raises:
            WarrantError: it is not a chain of warrants.

        """
        try:
            return cls(_parse(header))
        except WarrantRefusedError as error:
            raise WarrantError("A warrant cannot be read.", why=str(error)) from None


class TenuoWarrants:
    """Verifies what callers show.

    `trusted_roots` are raw Ed25519 public keys of those who may mint for this server.
    """

    def __init__(self, trusted_roots: Iterable[bytes], *, clock: WallClock | None = None) -> None:
        self._roots = [tenuo_core.PublicKey.from_bytes(key) for key in trusted_roots]
        if not self._roots:
            raise WarrantError(
                "Warrants need a root that is trusted.",
                why="No root key was given, so that every warrant would be refused.",
                fix="Pass the public keys of those who mint, or pass no check at all.",
            )
        self._clock = clock or MachineClock()
        self._engine = tenuo_core.Authorizer(trusted_roots=self._roots, clock_tolerance_secs=0)
        self._parsed: OrderedDict[str, _ReadChain] = OrderedDict()

    def revoke(self, signed_list: bytes) -> None:
        """Take a signed revocation list of a trusted root; an older one than the present is refused.

        Raises:
            WarrantError: it is not signed by a root, or not newer.

        """
        try:
            parsed = tenuo_core.SignedRevocationList.from_bytes(signed_list)
            present = self._engine.installed_revocation_list()
            if present is not None and parsed.version <= present.version:
                raise WarrantError(
                    "A revocation list is not newer than the present one.",
                    why=f"It has version {parsed.version}, the present one {present.version}.",
                )
            self._engine.set_revocation_list(parsed)
        except TenuoError as error:
            raise WarrantError("A revocation list is refused.", why=str(error)) from None

    def verify(self, question: WarrantQuestion) -> ShownWarrant:
        """Verify chain, proof, expiry, revocation and arguments, without waiting.

        Raises:
            WarrantRefusedError: anything is wrong.

        """
        read = self._chain(question.chain)
        if read.shown.expires_at <= self._clock.now().timestamp():
            raise WarrantRefusedError("The warrant has expired.")
        allowed = read.allowed.get(question.tool)
        if not allowed:
            raise WarrantRefusedError("The warrant does not name what is called.")
        _admit_arguments(allowed, question.arguments)
        try:
            self._engine.check_chain_with_pop_args(
                read.chain,
                question.tool,
                dict(question.bound),
                dict(question.arguments),
                signature=question.proof.signature,
            )
        except TenuoError as error:
            raise WarrantRefusedError(_told(error), detail=str(error)) from None
        return read.shown

    def _chain(self, header: str) -> "_ReadChain":
        found = self._parsed.get(header)
        if found is None:
            found = self._parsed[header] = _read_chain(header)
            if len(self._parsed) > CHAINS_KEPT_MAX:
                self._parsed.popitem(last=False)
        return found


class _ReadChain(NamedTuple):
    """A chain as it was read, nothing of it verified yet: what stands in it is the same at each call.

    `allowed` has for each tool its arguments, as (name, kind of matcher, whether the name is of a place).
    """

    chain: list[Any]
    allowed: Mapping[str, tuple[tuple[str, str, bool], ...]]
    shown: ShownWarrant


def _read_chain(header: str) -> _ReadChain:
    chain = _parse(header)
    leaf = chain[-1]
    return _ReadChain(
        chain=list(chain),
        allowed={
            tool: tuple(
                (name, type(one).__name__, _is_place(name)) for name, one in arguments.items()
            )
            for tool, arguments in leaf.capabilities.items()
        },
        shown=ShownWarrant(
            ids=tuple(str(one.id) for one in chain),
            root=bytes(chain[0].issuer.to_bytes()).hex(),
            holder=bytes(leaf.authorized_holder.to_bytes()).hex(),
            expires_at=min(_moment(one.expires_at()) for one in chain),
        ),
    )


def mint(
    root_private: bytes,
    *,
    holder: bytes,
    tools: Tools,
    ttl_s: int,
    paths: Iterable[str] = (),
    urls: Iterable[str] = (),
) -> HeldWarrant:
    """Make a warrant of a root key for the holder of a raw Ed25519 public key.

    Arguments that every call has are free where `tools` does not name them. `paths` and `urls` name the
    arguments that are such, beside those whose name says so.

    Raises:
        WarrantError: a path or URL is left to a matcher that is not safe for it, or the time is none.

    """
    full = {tool: _completed(tool, given) for tool, given in tools.items()}
    for given in full.values():
        _admit_matchers(given, frozenset(paths), frozenset(urls))
    try:
        warrant = tenuo_core.Warrant.issue(
            tenuo_core.SigningKey.from_bytes(root_private),
            full,
            ttl_s,
            holder=tenuo_core.PublicKey.from_bytes(holder),
        )
    except TenuoError as error:
        raise WarrantError("A warrant cannot be minted.", why=str(error)) from None
    return HeldWarrant((warrant,))


def attenuate_for(
    next_agent: bytes,
    held: HeldWarrant,
    *,
    holder_private: bytes,
    ttl_s: int,
    tools: Tools | None = None,
) -> HeldWarrant:
    """Hand a warrant on to the holder of a raw Ed25519 public key: the same or less, never longer.

    `tools` are those to hand on, with the arguments that are to be narrower; the others stay as they are.

    Raises:
        WarrantError: more is asked than is held, by another than the holder, or the chain is too long.

    """
    present = held.leaf.capabilities
    if len(held.chain) >= CHAIN_MAX:
        raise WarrantError("A chain of warrants has an end.", why=f"At most {CHAIN_MAX} links.")
    narrower = present
    if tools is not None:
        foreign = sorted(set(tools) - set(present))
        if foreign:
            raise WarrantError("A warrant cannot be widened.", why=f"It has no {foreign[0]!r}.")
        narrower = {tool: {**present[tool], **given} for tool, given in tools.items()}
    for given in narrower.values():
        _admit_matchers(given, frozenset(), frozenset())
    try:
        child = held.leaf.attenuate(
            narrower,
            tenuo_core.SigningKey.from_bytes(holder_private),
            ttl_s,
            holder=tenuo_core.PublicKey.from_bytes(next_agent),
        )
    except TenuoError as error:
        raise WarrantError("A warrant cannot be handed on so.", why=str(error)) from None
    return HeldWarrant((*held.chain, child))


def proof_headers(
    held: HeldWarrant,
    *,
    holder_private: bytes,
    method: str,
    params: Proto,
    audience: str,
    nonce: bytes,
    skill: str = "",
    tenant: str | None = None,
    clock: WallClock | None = None,
) -> dict[str, str]:
    """Return the headers of one call: the warrant, and a proof for this request alone.

    `tenant` is the one that `params` names, unless it is said otherwise. `nonce` are 16 fresh random bytes (`secrets.token_bytes`); a second call needs a second proof.

    Raises:
        WarrantError: the nonce has another length.

    """
    if len(nonce) != NONCE_BYTES:
        raise WarrantError(f"A nonce has {NONCE_BYTES} bytes.", why=f"This one has {len(nonce)}.")
    made_at = int((clock or MachineClock()).now().timestamp())
    bound = bound_to(
        method=method,
        params=params,
        tenant=str(getattr(params, "tenant", "")) if tenant is None else tenant,
        audience=audience,
        nonce=nonce,
        made_at=made_at,
    )
    key = tenuo_core.SigningKey.from_bytes(holder_private)
    signature = bytes(held.leaf.sign(key, tool_of(method, skill), bound, made_at))
    proof = Proof(made_at=made_at, nonce=nonce, signature=signature)
    return {WARRANT_HEADER: held.header(), PROOF_HEADER: proof.header()}


def revocation_list(root_private: bytes, ids: Iterable[str], *, version: int) -> bytes:
    """Sign a list of warrants that are void, with everything that was made of them."""
    builder = tenuo_core.SrlBuilder().revoke_all(list(ids)).version(version)
    built: bytes = bytes(builder.build(tenuo_core.SigningKey.from_bytes(root_private)).to_bytes())
    return built


def _completed(tool: str, given: Mapping[str, Constraint]) -> dict[str, Constraint]:
    standing = STANDING_ARGUMENTS
    if tool.startswith("a2a.") and not tool.startswith("a2a.Send"):
        standing = OF_METHODS
    return {**{name: tenuo_core.Wildcard() for name in standing}, **given}


def _admit_matchers(
    given: Mapping[str, Constraint], paths: frozenset[str], urls: frozenset[str]
) -> None:
    for name, constraint in given.items():
        kind = type(constraint).__name__
        if kind in _LOOSE and (_is_place(name) or name in paths or name in urls):
            raise WarrantError(
                f"The argument {name!r} is a path or a URL and needs a matcher for those.",
                why=f"{kind} compares text, which lets `..` and look-alikes out.",
                fix="Use Subpath for a path, UrlSafe or UrlPattern for a URL.",
            )


def _admit_arguments(
    allowed: Iterable[tuple[str, str, bool]], arguments: Mapping[str, Argument]
) -> None:
    for name, kind, of_place in allowed:
        value = arguments.get(name)
        if kind in _LOOSE and (of_place or _looks_like_place(value)):
            raise WarrantRefusedError(
                "The warrant leaves a path or a URL to a matcher of text.", detail=f"{name}: {kind}"
            )
        if kind == "Subpath" and isinstance(value, str) and _hides(value):
            raise WarrantRefusedError("A path is written in a way that hides where it leads.")


def _is_place(name: str) -> bool:
    words = set(name.lower().replace("-", "_").replace(".", "_").split("_"))
    return bool(words & (_PATH_WORDS | _URL_WORDS))


def _looks_like_place(value: Argument) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(
        isinstance(one, str) and (one.startswith(("/", "~", "\\")) or ".." in one or "://" in one)
        for one in values
    )


def _hides(path: str) -> bool:
    return "%" in path or "\\" in path or not path.isprintable()


def _parse(header: str) -> tuple[Any, ...]:
    try:
        packed = b64decode(header + "=" * (-len(header) % 4), altchars=b"-_", validate=True)
        chain = tuple(tenuo_core.decode_warrant_stack_base64(b64encode(packed).decode()))
    except (TenuoError, binascii.Error, ValueError) as error:
        raise WarrantRefusedError("The warrant is not one.", detail=str(error)) from None
    if not 1 <= len(chain) <= min(CHAIN_MAX, DEPTH_MAX):
        raise WarrantRefusedError("The warrant's chain is too long.", detail=f"{len(chain)} links")
    return chain


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _told(error: TenuoError) -> str:
    """Say what is wrong without saying what would be right."""
    return {
        "ConstraintViolation": "The warrant does not allow the call with these arguments.",
        "RevokedError": "The warrant was revoked.",
        "UntrustedRoot": "The warrant does not come from a root that is trusted here.",
        "SignatureInvalid": "The proof does not belong to this call and holder.",
        "MissingSignature": "The proof does not belong to this call and holder.",
    }.get(type(error).__name__, "The warrant is not valid for this call.")
