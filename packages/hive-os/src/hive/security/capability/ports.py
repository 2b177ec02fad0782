"""What a warrant says, and what an engine of warrants offers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from hive.core.call import NO_OWNER, Verb
from hive.core.clock import Clock
from hive.core.ids import OwnerId, TaskId
from hive.core.json import Json

if TYPE_CHECKING:
    from hive.security.capability.warrant import Warrant

ANY: Final = "*"
CAPABILITIES_MAX: Final = 512
LINKS_MAX: Final = 16
DEPTH_MAX: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Capability:
    """One thing that may be done: a verb and a target, and under which conditions on its arguments.

    `target` is a tool (`server.tool`, `server.*`), an agent, a model, or a host (`api.example.org:443,8443`,
    `*.example.org`, which means every port), or `*`. `arguments` are pairs of a name and a condition as `constraints`
    reads them; None lets every argument pass, and pairs let nothing pass that they do not name.
    """

    verb: Verb
    target: str
    arguments: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one link of a warrant allows. `paths` bound every argument that is a path; None bounds none."""

    capabilities: tuple[Capability, ...] = ()
    paths: tuple[str, ...] | None = None


EVERYTHING: Final = Terms(
    capabilities=tuple(
        Capability(verb=verb, target=ANY)
        for verb in (Verb.INVOKE, Verb.SEND, Verb.ASK, Verb.REACH, Verb.SPAWN)
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MintOrder:
    """What a warrant is to be: terms, whose key holds it (raw Ed25519), until when, how often handed on."""

    terms: tuple[Terms, ...]
    holder: bytes
    ttl_s: int
    depth: int = DEPTH_MAX
    task: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarrantOpening:
    """What an engine needs: the URL that chose it, the node's own key, and the keys of other roots it trusts."""

    url: str
    root: bytes = field(repr=False)
    roots: tuple[bytes, ...] = ()
    clock: Clock = field(repr=False)


class Warrants(Protocol):
    """Makes and verifies the tokens in which warrants travel. Holds no state but keys and a revocation list."""

    @classmethod
    def open(cls, opening: WarrantOpening) -> "Warrants":
        """Open the engine. Raises ConfigError."""
        ...

    @property
    def root(self) -> str:
        """Return the public key with which this node mints, in hexadecimal."""
        ...

    @property
    def roots(self) -> Sequence[bytes]:
        """Return every root that is trusted, the node's own first."""
        ...

    def mint(self, order: MintOrder) -> str:
        """Return a warrant of the node's own root as the header shows it. Raises BadInputError."""
        ...

    def attenuate(self, token: str, order: MintOrder, *, holder_private: bytes) -> str:
        """Hand a warrant on: the same or less, never longer, to the holder of another key.

        Raises:
            BadInputError: it would be wider, or its chain too long, or the key is not the holder's.

        """
        ...

    def parse(self, token: str) -> "Warrant":
        """Read a warrant without trusting it. Raises BadInputError."""
        ...

    def verify(self, token: str) -> "Warrant":
        """Verify signatures, roots, expiry, revocation and that no link is wider than the one before.

        Raises:
            IdentityError: it counts for nothing here.

        """
        ...

    def revocation_list(self, ids: Sequence[str], *, version: int) -> bytes:
        """Sign a list of the ids of this root that are void."""
        ...

    def install(self, signed_list: bytes) -> None:
        """Take a signed revocation list of a trusted root; an older one is refused. Raises IdentityError."""
        ...


class WarrantNoticed(Protocol):
    """Who writes down what happens to warrants."""

    async def __call__(
        self,
        name: str,
        body: dict[str, Json],
        *,
        agent: str = "",
        owner: OwnerId = NO_OWNER,
        task: TaskId | None = None,
    ) -> None:
        """Write one line."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MintedLine:
    """A warrant that this node gave out, as it is kept."""

    id: str
    holder: str
    by: str
    minted_at: datetime
    not_after: datetime
    token: str
