"""The relationships of a node: whatever engine keeps them, each change stands in the ledger before it counts."""

from collections.abc import Sequence
from typing import Final

from hive.core.errors import HiveError
from hive.core.json import Json
from hive.security.relations.dsl_json import read_model
from hive.security.relations.names import checked
from hive.security.relations.ports import (
    LISTED_MAX,
    RelatedObjects,
    RelationChange,
    RelationDecision,
    RelationEmit,
    RelationExplanation,
    RelationFilter,
    Relations,
    Relationship,
)

WRITTEN: Final = "relation.written"
REMOVED: Final = "relation.removed"
MODEL_LOADED: Final = "relation.model_loaded"
FAILED: Final = "relation.failed"


class RelationBook:
    """Passes questions on, and writes down what is changed."""

    def __init__(self, relations: Relations, *, emit: RelationEmit) -> None:
        self._relations = relations
        self._emit = emit

    async def check(self, asked: Relationship, *, at: str = "") -> RelationDecision:
        """Tell whether a relation holds. Raises BadInputError, EngineError."""
        return await self._relations.check(checked(asked), at=at)

    async def explain(self, asked: Relationship) -> RelationExplanation:
        """Answer a question and tell why. Raises BadInputError, EngineError."""
        return await self._relations.explain(checked(asked))

    async def objects(
        self, kind: str, relation: str, subject: str, *, limit: int = LISTED_MAX
    ) -> RelatedObjects:
        """List the objects of a type to which a subject has a relation."""
        return await self._relations.objects(kind, relation, subject, limit=limit)

    async def tuples(
        self, wanted: RelationFilter, *, limit: int = LISTED_MAX
    ) -> Sequence[Relationship]:
        """List what was written down."""
        return await self._relations.tuples(wanted, limit=limit)

    async def model(self) -> str:
        """Return the model that counts."""
        return await self._relations.model()

    async def write(self, change: RelationChange, *, by: str) -> str:
        """Add and remove relationships. Raises BadInputError, ConflictError, EngineError."""
        for one in (*change.added, *change.removed, *change.present, *change.absent):
            checked(one)
        for name, several in ((WRITTEN, change.added), (REMOVED, change.removed)):
            if several:
                await self._emit(name, {"relationships": [*map(str, several)], "by": by})
        try:
            return await self._relations.write(change)
        except HiveError as error:
            # The record says that it was to happen; now it says that it did not, or that nobody knows.
            await self._emit(FAILED, {"why": _why(error), "by": by})
            raise

    async def load_model(self, source: str, *, by: str) -> str:
        """Let a model count. Raises BadInputError, EngineError."""
        types: list[Json] = [*read_model(source).types]
        await self._emit(MODEL_LOADED, {"types": types, "by": by})
        try:
            return await self._relations.load_model(source)
        except HiveError as error:
            await self._emit(FAILED, {"why": _why(error), "by": by})
            raise


def _why(error: HiveError) -> str:
    return f"{error.what} {error.why}".strip()
