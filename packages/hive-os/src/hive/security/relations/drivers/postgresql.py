"""Relationships in the node's own database, searched by the node itself.

Each write gets the next revision while it holds the one lock there is, and rows are kept with the revisions from and
until which they count. So a question of several queries is answered at one revision, and what was found may be kept
for as long as that revision is the newest.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast

import anyio

from hive.core.errors import BadInputError, ConflictError, TooLargeError
from hive.engines.ports import Database, Row, Transaction
from hive.security.relations.dsl import rule_text, text_of
from hive.security.relations.dsl_json import read_model
from hive.security.relations.model import RelationModel, model_of
from hive.security.relations.names import checked, object_type, word
from hive.security.relations.ports import (
    LISTED_MAX,
    WRITES_MAX,
    RelatedObjects,
    RelationChange,
    RelationDecision,
    RelationExplanation,
    RelationFilter,
    RelationOpening,
    Relations,
    Relationship,
)
from hive.security.relations.search import Found, Node, RelationSearch, Yes, nodes_of

NO_END: Final = 2**63 - 1
CACHED_MAX: Final = 10_000
CANDIDATES_MAX: Final = 1000
AT_ONCE: Final = 50
HISTORY_REVISIONS: Final = 10_000
MODELS_KEPT: Final = 100
LINES_MAX: Final = 200
UNDECIDED: Final = "it stands on its own absence, in a circle through `but not`"
_READ: Final = (
    "SELECT t.object, t.relation, t.subject"
    " FROM unnest($1::text[], $2::text[], $3::boolean[]) AS q (object, relation, whole)"
    " JOIN relation_tuple t ON t.object = q.object AND t.relation = q.relation"
    " WHERE t.added <= $4 AND t.removed > $4 AND (q.whole OR t.broad OR t.subject = ANY($5::text[]))"
    " LIMIT $6"
)
_NAMED: Final = "SELECT * FROM unnest($1::text[], $2::text[], $3::text[])"


class PostgresqlRelations:
    """Checks, writes and lists."""

    def __init__(self, database: Database, *, timeout_s: float) -> None:
        self._database = database
        self._timeout_s = timeout_s
        self._cache: OrderedDict[tuple[int, Relationship], RelationDecision] = OrderedDict()
        self._newest = 0
        self._model_at = 0
        self._model = model_of({})

    @classmethod
    @asynccontextmanager
    async def open(cls, opening: RelationOpening) -> AsyncIterator[Relations]:
        """Open on the node's database."""
        yield cls(opening.database, timeout_s=opening.timeout_s)

    async def check(self, asked: Relationship, *, at: str = "") -> RelationDecision:
        """Tell whether a relation holds."""
        checked(asked)
        revision, model = await self._head(at)
        model.question(asked)
        held = self._cache.get((revision, asked))
        if held is not None:
            return held
        found = await self._decided(self._search(model, asked.subject, revision), asked, revision)
        if not found.fault:
            self._cache[revision, asked] = found
            if len(self._cache) > CACHED_MAX:
                self._cache.popitem(last=False)
        return found

    async def explain(self, asked: Relationship) -> RelationExplanation:
        """Answer a question and tell why."""
        checked(asked)
        revision, model = await self._head()
        model.question(asked)
        search = self._search(model, asked.subject, revision)
        decision = await self._decided(search, asked, revision)
        return RelationExplanation(decision=decision, lines=lines_of(search, _node(asked)))

    async def objects(
        self, kind: str, relation: str, subject: str, *, limit: int = LISTED_MAX
    ) -> RelatedObjects:
        """List the objects of a type to which a subject has a relation."""
        checked(Relationship(f"{word(kind, 'type')}:_", relation, subject))
        revision, model = await self._head()
        model.question(Relationship(f"{kind}:_", relation, subject))
        candidates = await self._candidates(kind, subject, revision)
        search, found = self._search(model, subject, revision), list[str]()
        complete = len(candidates) <= CANDIDATES_MAX
        try:
            with anyio.fail_after(self._timeout_s):
                for start in range(0, min(len(candidates), CANDIDATES_MAX), AT_ONCE):
                    some = candidates[start : min(start + AT_ONCE, CANDIDATES_MAX)]
                    values = await search.decide(*((one, relation) for one in some))
                    complete = complete and None not in values.values()
                    found += [one for one in some if values[one, relation]]
                    if len(found) > limit:
                        break
        except (TooLargeError, TimeoutError):
            complete = False
        return RelatedObjects(
            objects=tuple(found[:limit]),
            complete=complete and len(found) <= limit,
            revision=str(revision),
        )

    async def tuples(
        self, wanted: RelationFilter, *, limit: int = LISTED_MAX
    ) -> Sequence[Relationship]:
        """List what was written down."""
        rows = await self._database.fetch(
            "SELECT object, relation, subject FROM relation_tuple WHERE removed = $1"
            " AND ($2 = '' OR object = $2 OR (right($2, 1) = ':' AND starts_with(object, $2)))"
            " AND ($3 = '' OR relation = $3) AND ($4 = '' OR subject = $4)"
            " ORDER BY object, relation, subject LIMIT $5",
            NO_END,
            wanted.object,
            wanted.relation,
            wanted.subject,
            min(limit, LISTED_MAX),
        )
        return [_relationship(row) for row in rows]

    async def write(self, change: RelationChange) -> str:
        """Add and remove relationships."""
        _bounded(change)
        async with self._database.transaction() as transaction:
            head = await _locked(transaction)
            if change.at and _revision(change.at) != head:
                raise ConflictError(
                    "Relationships were written since.", why=f"Revision {head} is the newest."
                )
            model = await self._model_in(transaction)
            for one in change.added:
                model.admit(one)
            await _demand(transaction, change)
            changed = await _remove(transaction, change.removed, head + 1)
            changed += await _add(transaction, change.added, head + 1)
            if not changed:
                return str(head)
            await _advance(transaction, head + 1)
            return str(head + 1)

    async def load_model(self, source: str) -> str:
        """Let a model count."""
        text = text_of(read_model(source))
        async with self._database.transaction() as transaction:
            head = await _locked(transaction)
            await transaction.execute(
                "INSERT INTO relation_model (revision, source) VALUES ($1, $2)", head + 1, text
            )
            await transaction.execute(
                "DELETE FROM relation_model WHERE revision < (SELECT min(revision) FROM"
                " (SELECT revision FROM relation_model ORDER BY revision DESC LIMIT $1) AS kept)",
                MODELS_KEPT,
            )
            await _advance(transaction, head + 1)
        return str(head + 1)

    async def model(self) -> str:
        """Return the model that counts."""
        _, model = await self._head()
        return text_of(model) if model.types else ""

    async def _head(self, at: str = "") -> tuple[int, RelationModel]:
        """Return the newest revision and the model of it.

        Raises:
            ConflictError: it is older than one that was seen, so the database is not what it was.

        """
        rows = await self._database.fetch(
            "SELECT revision, (SELECT max(revision) FROM relation_model) AS model FROM relation_head"
        )
        revision = cast("int", rows[0]["revision"])
        wanted = max(self._newest, _revision(at) if at else 0)
        if revision < wanted:
            self._cache.clear()
            raise ConflictError(
                "The relationships are older than what was asked for.",
                why=f"Revision {wanted} is known; the database has {revision}.",
                fix="Restore the newest backup, or write the relationships again and restart.",
            )
        self._newest = revision
        model_at = cast("int | None", rows[0]["model"]) or 0
        if model_at == self._model_at:
            return revision, self._model
        return revision, await self._read_model(self._database, model_at)

    async def _model_in(self, transaction: Transaction) -> RelationModel:
        rows = await transaction.fetch("SELECT max(revision) AS model FROM relation_model")
        model_at = cast("int | None", rows[0]["model"]) or 0
        return (
            self._model
            if model_at == self._model_at
            else await self._read_model(transaction, model_at)
        )

    async def _read_model(self, database: Database | Transaction, model_at: int) -> RelationModel:
        rows = await database.fetch(
            "SELECT source FROM relation_model WHERE revision = $1", model_at
        )
        model = read_model(str(rows[0]["source"]))
        self._model_at, self._model = model_at, model
        return model

    def _search(self, model: RelationModel, subject: str, revision: int) -> RelationSearch:
        async def read(
            links: Sequence[Node], asked: Sequence[Node], subjects: Sequence[str], limit: int
        ) -> Found:
            wanted = {node: node in set(links) for node in (*asked, *links)}
            rows = await self._database.fetch(
                _READ,
                [node[0] for node in wanted],
                [node[1] for node in wanted],
                list(wanted.values()),
                revision,
                list(subjects),
                limit,
            )
            found: dict[Node, list[str]] = {}
            for row in rows:
                node = str(row["object"]), str(row["relation"])
                found.setdefault(node, []).append(str(row["subject"]))
            return found

        return RelationSearch(model, subject, read)

    async def _decided(
        self, search: RelationSearch, asked: Relationship, revision: int
    ) -> RelationDecision:
        node = _node(asked)
        try:
            with anyio.fail_after(self._timeout_s):
                value = (await search.decide(node))[node]
            fault = UNDECIDED if value is None else ""
        except TooLargeError as error:
            value, fault = False, f"{error.what} {error.why}".strip()
        except TimeoutError:
            value, fault = False, "the search took too long"
        return RelationDecision(allowed=value is True, revision=str(revision), fault=fault)

    async def _candidates(self, kind: str, subject: str, revision: int) -> list[str]:
        rows = await self._database.fetch(
            "SELECT DISTINCT object FROM relation_tuple"
            " WHERE object >= $1 AND object < $2 AND added <= $3 AND removed > $3"
            " ORDER BY object LIMIT $4",
            f"{kind}:",
            f"{kind};",
            revision,
            CANDIDATES_MAX + 1,
        )
        named = [str(row["object"]) for row in rows]
        itself = subject.partition("#")[0]
        if "#" in subject and object_type(itself) == kind and itself not in named:
            named.insert(0, itself)
        return named


def lines_of(search: RelationSearch, root: Node) -> tuple[str, ...]:
    """Return what a search found as lines, each relation once, below the one that it is needed for."""
    lines: list[str] = []
    seen: set[Node] = set()
    pending: list[tuple[Node, int]] = [(root, 0)]
    while pending and len(lines) < LINES_MAX:
        node, depth = pending.pop()
        value = search.values.get(node)
        term = search.terms.get(node)
        told = {True: "yes", False: "no ", None: "?  " if term else "-  "}[value]
        line = f"{told} {'  ' * depth}{node[0]}#{node[1]}"
        if node in seen or term is None:
            lines.append(line if term is None else f"{line} (above)")
            continue
        seen.add(node)
        rule = rule_text(search.model.rule(object_type(node[0]), node[1]))
        written = " (written down)" if term == Yes(value=True) else ""
        lines.append(f"{line}{written}   {rule}")
        below = list(dict.fromkeys(nodes_of(term)))
        pending += [(one, depth + 1) for one in reversed(below)]
    return tuple(lines)


async def _locked(transaction: Transaction) -> int:
    rows = await transaction.fetch("SELECT revision FROM relation_head FOR UPDATE")
    return cast("int", rows[0]["revision"])


async def _advance(transaction: Transaction, revision: int) -> None:
    await transaction.execute("UPDATE relation_head SET revision = $1", revision)
    await transaction.execute(
        "DELETE FROM relation_tuple WHERE removed < $1", revision - HISTORY_REVISIONS
    )


async def _demand(transaction: Transaction, change: RelationChange) -> None:
    for wanted, there in ((change.present, True), (change.absent, False)):
        if not wanted:
            continue
        rows = await transaction.fetch(
            f"SELECT q.* FROM ({_NAMED}) AS q (object, relation, subject)"  # noqa: S608  of two constants
            " WHERE $4 = EXISTS (SELECT FROM relation_tuple t WHERE t.removed = $5 AND"
            " (t.object, t.relation, t.subject) = (q.object, q.relation, q.subject)) LIMIT 1",
            *_columns(wanted),
            not there,
            NO_END,
        )
        if rows:
            raise ConflictError(
                f"{_relationship(rows[0])} is {'not there' if there else 'there already'}.",
                why="The write was to happen under that condition only.",
            )


async def _remove(transaction: Transaction, removed: Sequence[Relationship], revision: int) -> int:
    if not removed:
        return 0
    done = await transaction.execute(
        "UPDATE relation_tuple SET removed = $4 WHERE removed = $5"  # noqa: S608  of two constants
        f" AND (object, relation, subject) IN ({_NAMED})",
        *_columns(removed),
        revision,
        NO_END,
    )
    return int(done.rpartition(" ")[2])


async def _add(transaction: Transaction, added: Sequence[Relationship], revision: int) -> int:
    if not added:
        return 0
    done = await transaction.execute(
        "INSERT INTO relation_tuple (object, relation, subject, broad, added)"  # noqa: S608  of two constants
        " SELECT q.object, q.relation, q.subject, position('#' in q.subject) > 0, $4"
        f" FROM ({_NAMED}) AS q (object, relation, subject) ON CONFLICT DO NOTHING",
        *_columns(added),
        revision,
    )
    return int(done.rpartition(" ")[2])


def _columns(several: Sequence[Relationship]) -> tuple[list[str], list[str], list[str]]:
    return (
        [one.object for one in several],
        [one.relation for one in several],
        [one.subject for one in several],
    )


def _bounded(change: RelationChange) -> None:
    """Return where a write has its form. Raises BadInputError."""
    touched = (*change.added, *change.removed)
    if not 0 < len(touched) <= WRITES_MAX or len(change.present) + len(change.absent) > WRITES_MAX:
        raise BadInputError(f"One write adds and removes 1 to {WRITES_MAX} relationships.")
    if len(set(touched)) != len(touched):
        raise BadInputError("A relationship stands twice in one write.")
    for one in (*touched, *change.present, *change.absent):
        checked(one)


def _revision(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadInputError("That is no revision of relationships.", why="It is a whole number.")
    return int(text)


def _relationship(row: Row) -> Relationship:
    return Relationship(str(row["object"]), str(row["relation"]), str(row["subject"]))


def _node(asked: Relationship) -> Node:
    return asked.object, asked.relation
