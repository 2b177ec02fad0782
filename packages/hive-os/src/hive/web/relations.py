"""Relationships on the operator's wire: `/api/relations` and what is asked of them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from hive.core.errors import BadInputError
from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey


class RelationLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One relationship: `document:plan`, `viewer`, `user:ann`."""

    object: str
    relation: str
    subject: str


class RelationWriteOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to add and remove, all or nothing, and what has to be so before; `at` is the newest revision then."""

    added: tuple[RelationLine, ...] = ()
    removed: tuple[RelationLine, ...] = ()
    present: tuple[RelationLine, ...] = ()
    absent: tuple[RelationLine, ...] = ()
    at: str = ""


class RelationWritten(msgspec.Struct, frozen=True, kw_only=True):
    """From which revision on a write counts."""

    revision: str


class RelationAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question; the answer is of no older revision than `at`."""

    object: str
    relation: str
    subject: str
    at: str = ""


class RelationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, and with `hive relation explain` what took part in it."""

    allowed: bool
    revision: str
    fault: str = ""
    lines: tuple[str, ...] = ()


class RelatedView(msgspec.Struct, frozen=True, kw_only=True):
    """Objects that somebody has a relation to; not all of them where it is not `complete`."""

    objects: tuple[str, ...]
    complete: bool
    revision: str


class RelationModelView(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model in OpenFGA's language, or in its JSON form; `revision` where it was just loaded."""

    model: str
    revision: str = ""


class RelationDesk(Protocol):
    """Who keeps relationships."""

    async def lines(self, of: str, relation: str, subject: str) -> Sequence[RelationLine]:
        """List what is written down."""
        ...

    async def write(self, order: RelationWriteOrder) -> RelationWritten:
        """Add and remove. Raises BadInputError, ConflictError."""
        ...

    async def check(self, asked: RelationAsked) -> RelationAnswer:
        """Answer a question. Raises BadInputError."""
        ...

    async def explain(self, asked: RelationAsked) -> RelationAnswer:
        """Answer a question and tell why. Raises BadInputError."""
        ...

    async def related(self, kind: str, relation: str, subject: str) -> RelatedView:
        """List objects that somebody has a relation to. Raises BadInputError."""
        ...

    async def model(self) -> RelationModelView:
        """Return the model."""
        ...

    async def names(self) -> Sequence[str]:
        """List the relations of the model as `type#relation`."""
        ...

    async def load_model(self, order: RelationModelView) -> RelationModelView:
        """Let a model count. Raises BadInputError."""
        ...


class RelationsChapter(Chapter):
    """The paths of relationships."""

    def __init__(self, desk: RelationDesk) -> None:
        self._desk = desk
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "relations", 0): self._list,
            ("POST", "relations", 0): self._write,
            ("POST", "relation-checks", 0): self._check,
            ("POST", "relation-explanations", 0): self._explain,
            ("GET", "relation-objects", 2): self._related,
            ("GET", "relation-model", 0): self._model,
            ("GET", "relation-names", 0): self._names,
            ("POST", "relation-model", 0): self._load,
        }
        self.streams: Mapping[RouteKey, Lines] = {}

    async def _list(self, question: ApiQuestion) -> object:
        told = (question.query.get(name, "") for name in ("object", "relation", "subject"))
        return list(await self._desk.lines(*told))

    async def _write(self, question: ApiQuestion) -> object:
        return await self._desk.write(question.read(RelationWriteOrder))

    async def _check(self, question: ApiQuestion) -> object:
        return await self._desk.check(question.read(RelationAsked))

    async def _explain(self, question: ApiQuestion) -> object:
        return await self._desk.explain(question.read(RelationAsked))

    async def _related(self, question: ApiQuestion) -> object:
        subject = question.query.get("subject", "")
        if not subject:
            raise BadInputError("Whose objects? The query names no subject.")
        kind, relation = question.rest
        return await self._desk.related(kind, relation, subject)

    async def _model(self, _question: ApiQuestion) -> object:
        return await self._desk.model()

    async def _names(self, _question: ApiQuestion) -> object:
        return list(await self._desk.names())

    async def _load(self, question: ApiQuestion) -> object:
        return await self._desk.load_model(question.read(RelationModelView))
