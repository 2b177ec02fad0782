"""What is asked about relationships, what is answered, and what an engine has to do for it."""

from collections.abc import Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from hive.core.json import Json
from hive.engines.ports import Database

WRITES_MAX = 100
"""So many relationships are added and removed by one write."""
LISTED_MAX = 1000


@dataclass(frozen=True, slots=True, order=True)
class Relationship:
    """One relationship: `document:plan`, `viewer`, and `user:ann`, `user:*` or `group:staff#member`.

    As a question it asks whether the subject has that relation to the object, written down or derived.
    """

    object: str
    relation: str
    subject: str

    def __str__(self) -> str:
        return f"{self.object}#{self.relation}@{self.subject}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationDecision:
    """What was found. `revision` is what it was found at; `fault` says why there is no answer, which is no yes either."""

    allowed: bool
    revision: str
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationChange:
    """What a write is to do, all of it or nothing.

    `present` must be there before and `absent` must not; with `at`, nothing may have been written since that revision.
    """

    added: tuple[Relationship, ...] = ()
    removed: tuple[Relationship, ...] = ()
    present: tuple[Relationship, ...] = ()
    absent: tuple[Relationship, ...] = ()
    at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelatedObjects:
    """Objects that a subject has a relation to. Not `complete` where a bound was met, or an answer could not be had."""

    objects: tuple[str, ...]
    complete: bool
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationExplanation:
    """A decision and what took part in it, as indented lines."""

    decision: RelationDecision
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationFilter:
    """Which relationships to list; empty is any. `object` may be a type with its colon (`document:`)."""

    object: str = ""
    relation: str = ""
    subject: str = ""


class Relations(Protocol):
    """Who is related to what, by a model of which relations follow from which."""

    async def check(self, asked: Relationship, *, at: str = "") -> RelationDecision:
        """Tell whether a relation holds, at a revision no older than `at` (empty: the newest).

        Raises:
            BadInputError: the question names nothing that the model has.
            EngineError: the engine cannot answer.

        """
        ...

    async def write(self, change: RelationChange) -> str:
        """Add and remove relationships; return the revision from which on it counts.

        Raises:
            BadInputError: the model does not allow one of them.
            ConflictError: a precondition does not hold; nothing was changed.

        """
        ...

    async def objects(
        self, kind: str, relation: str, subject: str, *, limit: int = LISTED_MAX
    ) -> RelatedObjects:
        """List the objects of a type to which a subject has a relation. Raises BadInputError."""
        ...

    async def explain(self, asked: Relationship) -> RelationExplanation:
        """Answer a question and tell why. Raises BadInputError."""
        ...

    async def tuples(
        self, wanted: RelationFilter, *, limit: int = LISTED_MAX
    ) -> Sequence[Relationship]:
        """List what was written down, in order."""
        ...

    async def load_model(self, source: str) -> str:
        """Let a model count; return the revision. Raises BadInputError."""
        ...

    async def model(self) -> str:
        """Return the model that counts in the modelling language; empty where there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationOpening:
    """What an engine of relationships opens with."""

    url: str
    database: Database = field(repr=False)
    timeout_s: float


class RelationsDriver(Relations, Protocol):
    """An engine as its table loads it."""

    @classmethod
    def open(cls, opening: RelationOpening) -> AbstractAsyncContextManager[Relations]:
        """Open it. Raises ConfigError."""
        ...


class RelationEmit(Protocol):
    """Writes an event to the ledger."""

    def __call__(self, name: str, body: dict[str, Json]) -> Awaitable[None]:
        """Write it."""
        ...
