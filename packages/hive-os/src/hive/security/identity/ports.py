"""What an authority of a trust domain offers, and the values that leave it.

Everything here is short-lived by design. A private key stands in a value and in the memory of whoever asked for it,
never in a file, a log or a representation.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from hive.core.clock import Clock
from hive.core.errors import IdentityError, InvalidIdError
from hive.core.ids import printable
from hive.core.randomness import Randomness
from hive.engines.ports import Database
from hive_a2a.identity.svid import BadSvidError, trust_domain

AUDIENCES_MAX: Final = 16
AUDIENCE_MAX_CHARS: Final = 512


class DeniedKind(StrEnum):
    """By what an SVID is denied."""

    SERIAL = "serial"
    ID = "id"
    TOKEN = "token"  # noqa: S105 - a kind, not a secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """One thing that counts no more; `ends_at` is when it would have ended by itself."""

    kind: DeniedKind
    value: str
    at: datetime
    ends_at: datetime
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """The name of a workload (SPIFFE-ID): `spiffe://<trust domain>/<path>`, in its one canonical form."""

    text: str

    def __post_init__(self) -> None:
        """Refuse anything else.

        Raises:
            InvalidIdError: it is not a SPIFFE id.

        """
        try:
            trust_domain(self.text)
        except BadSvidError as error:
            raise InvalidIdError(
                f"{printable(self.text)} is not a SPIFFE id.",
                why="A trust domain in lower case, then segments of letters, digits and . - _",
                fix="Write it as spiffe://example.org/agent/name.",
            ) from error

    @classmethod
    def of(cls, domain: str, *segments: str) -> "SpiffeId":
        """Return the id with these path segments; a segment is one name. Raises InvalidIdError."""
        # A slash in a name would make two segments of it, and so another's id.
        escaped = (one.replace("/", "//") for one in segments)
        return cls("/".join((f"spiffe://{domain}", *escaped)))

    @property
    def trust_domain(self) -> str:
        """Return whose authority vouches for it."""
        return self.text.removeprefix("spiffe://").partition("/")[0]

    @property
    def path(self) -> str:
        """Return the path with its slash; empty for the trust domain itself."""
        rest = self.text.removeprefix("spiffe://").partition("/")
        return rest[1] + rest[2]

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class X509Svid:
    """An X.509-SVID with its key: DER certificates, leaf first, the key as PKCS #8 DER."""

    spiffe_id: SpiffeId
    chain: tuple[bytes, ...]
    key: bytes = field(repr=False)
    serial: str
    starts_at: datetime
    ends_at: datetime

    @property
    def half_life_s(self) -> float:
        """Return how long after its making a fresh one is due."""
        return (self.ends_at - self.starts_at).total_seconds() / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSvid:
    """A JWT-SVID; `id` is its `jti`."""

    spiffe_id: SpiffeId
    token: str = field(repr=False)
    id: str
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustBundle:
    """What verifies the SVIDs of a trust domain: root certificates (DER), and a JWK set for JWT-SVIDs."""

    trust_domain: str
    roots: tuple[bytes, ...]
    jwks: bytes
    sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SvidOrder:
    """What is asked of an issuer: for whom, for how long, and the session that it can be denied by.

    `common_name` is for servers that know no SPIFFE id, such as a database; without one the subject is empty.
    """

    subject: SpiffeId
    ttl_s: float
    session: str = ""
    common_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationDone:
    """What a rotation made. `ended` is when the oldest authority that still counts ceases to."""

    what: str
    generation: int
    ends_at: datetime
    fingerprint: str


class SealedStore(Protocol):
    """Keeps small secrets of the authority between starts; what lies there is sealed."""

    def seal(self, name: str, secret: bytes) -> bytes:
        """Seal a secret under its name."""
        ...

    def open(self, name: str, sealed: bytes) -> bytes:
        """Open what was sealed under this name. Raises IdentityError."""
        ...


class Issuer(Protocol):
    """The authority of one trust domain."""

    @property
    def trust_domain(self) -> str:
        """Return the name of the trust domain."""
        ...

    def owns(self, authority: str) -> bool:
        """Tell whether this node alone signs with the key of this id: then it knows all that counts."""
        ...

    async def x509(self, order: SvidOrder) -> X509Svid:
        """Issue an X.509-SVID with a fresh key.

        Raises:
            IdentityError: the authority refuses, or cannot be reached.

        """
        ...

    async def jwt(self, order: SvidOrder, audience: Sequence[str]) -> JwtSvid:
        """Issue a JWT-SVID for an audience. Raises IdentityError."""
        ...

    async def bundle(self) -> TrustBundle:
        """Return what verifies the SVIDs of this trust domain now. Raises IdentityError."""
        ...

    async def rotate(self, *, root: bool = False, root_key: bytes = b"") -> RotationDone:
        """Make a new intermediate (or a new root), the one before counts for one generation more.

        `root_key` is the root's key in PEM where it was taken away from this node.

        Raises:
            IdentityError: the key of the root is not here, or this authority is rotated elsewhere.

        """
        ...

    async def tend(self) -> bool:
        """Rotate what is due; tell whether the bundle or the chain has changed since the last time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerOpening:
    """The URL that chose the driver, and what else it may need; `demanded`: an operator named the trust domain."""

    url: str
    trust_domain: str
    demanded: bool = False
    database: Database
    sealed: SealedStore
    clock: Clock
    randomness: Randomness


class IssuerDriver(Protocol):
    """What a row of the table `IDENTITIES` names."""

    @classmethod
    def open(cls, opening: IssuerOpening) -> AbstractAsyncContextManager[Issuer]:
        """Open the authority. Raises ConfigError, IdentityError."""
        ...


def audiences(given: Sequence[str]) -> tuple[str, ...]:
    """Return an audience that may stand in a JWT-SVID.

    Raises:
        IdentityError: there is none, or too many, or one is empty or too long.

    """
    listed = tuple(dict.fromkeys(given))
    if not 0 < len(listed) <= AUDIENCES_MAX or not all(
        0 < len(one) <= AUDIENCE_MAX_CHARS for one in listed
    ):
        raise IdentityError(
            "A JWT-SVID needs an audience.",
            why=f"1 to {AUDIENCES_MAX} of 1 to {AUDIENCE_MAX_CHARS} characters.",
        )
    return listed
