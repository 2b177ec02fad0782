"""An OpenFGA server, by its HTTP API.

It has no revisions: a decision quotes the model it was made by, and always asks for the newest relationships. A write
may be bound to what it adds being absent and what it removes being present, and to nothing else.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote

import msgspec

from hive.core.errors import BadInputError, ConflictError, EngineError
from hive.core.ids import plain_text
from hive.core.json import Json, encode
from hive.security.relations.drivers.asked_http import RelationServer, text_in
from hive.security.relations.dsl import text_of
from hive.security.relations.dsl_json import json_of, read_model
from hive.security.relations.names import checked, word
from hive.security.relations.ports import (
    LISTED_MAX,
    RelatedObjects,
    RelationChange,
    RelationDecision,
    RelationExplanation,
    RelationFilter,
    RelationOpening,
    Relations,
    Relationship,
)

PAGE: Final = 100
PAGES_MAX: Final = 20
LINES_MAX: Final = 200
DEPTH_SHOWN_MAX: Final = 12
TOO_COMPLEX: Final = "authorization_model_resolution_too_complex"
NEWEST: Final = "HIGHER_CONSISTENCY"


class OpenFgaRelations:
    """One store of a server."""

    def __init__(self, server: RelationServer, store: str) -> None:
        self._server = server
        self._store = f"/stores/{quote(store, safe='')}"

    @classmethod
    @asynccontextmanager
    async def open(cls, opening: RelationOpening) -> AsyncIterator[Relations]:
        """Open the store that `store=` names (`hive`); it is made where there is none."""
        server = RelationServer(opening.url, timeout_s=opening.timeout_s)
        try:
            yield cls(server, await _store(server, server.query.get("store", "hive")))
        finally:
            await server.aclose()

    async def check(self, asked: Relationship, *, at: str = "") -> RelationDecision:
        """Tell whether a relation holds."""
        del at
        model = await self._model_id()
        body = {"tuple_key": _key(checked(asked)), "authorization_model_id": model}
        status, told = await self._server.ask(
            f"{self._store}/check", {**body, "consistency": NEWEST}
        )
        revision = f"openfga:{model}"
        if status == 400 and told and text_in(told[0], "code") == TOO_COMPLEX:
            return RelationDecision(
                allowed=False, revision=revision, fault="too deep to be followed"
            )
        answer = _answer(status, told)
        return RelationDecision(allowed=answer.get("allowed") is True, revision=revision)

    async def write(self, change: RelationChange) -> str:
        """Add and remove relationships."""
        strict_add, strict_remove = _strictness(change)
        body: dict[str, object] = {"authorization_model_id": await self._model_id()}
        if change.added:
            keys = [_key(checked(one)) for one in change.added]
            told = "error" if strict_add else "ignore"
            body["writes"] = {"tuple_keys": keys, "on_duplicate": told}
        if change.removed:
            keys = [_key(checked(one)) for one in change.removed]
            told = "error" if strict_remove else "ignore"
            body["deletes"] = {"tuple_keys": keys, "on_missing": told}
        _answer(*await self._server.ask(f"{self._store}/write", body))
        return f"openfga:{body['authorization_model_id']}"

    async def objects(
        self, kind: str, relation: str, subject: str, *, limit: int = LISTED_MAX
    ) -> RelatedObjects:
        """List the objects of a type to which a subject has a relation; the server has a bound of its own."""
        checked(Relationship(f"{word(kind, 'type')}:_", relation, subject))
        model = await self._model_id()
        body = {
            "type": kind,
            "relation": relation,
            "user": subject,
            "authorization_model_id": model,
            "consistency": NEWEST,
        }
        answer = _answer(*await self._server.ask(f"{self._store}/list-objects", body))
        listed = answer.get("objects")
        found = sorted(map(str, listed)) if isinstance(listed, list) else []
        return RelatedObjects(
            objects=tuple(found[:limit]),
            complete=len(found) < LISTED_MAX and len(found) <= limit,
            revision=f"openfga:{model}",
        )

    async def explain(self, asked: Relationship) -> RelationExplanation:
        """Answer a question and give the server's tree of one level."""
        decision = await self.check(asked)
        key = {"object": asked.object, "relation": asked.relation}
        body = {"tuple_key": key, "consistency": NEWEST}
        answer = _answer(*await self._server.ask(f"{self._store}/expand", body))
        lines: list[str] = []
        tree = answer.get("tree")
        _lines(tree.get("root") if isinstance(tree, dict) else None, 0, lines)
        return RelationExplanation(decision=decision, lines=tuple(lines))

    async def tuples(
        self, wanted: RelationFilter, *, limit: int = LISTED_MAX
    ) -> Sequence[Relationship]:
        """List what was written down; it is filtered here, because the server takes few filters."""
        found: list[Relationship] = []
        token = ""
        for _ in range(PAGES_MAX):
            body = {"page_size": PAGE, "continuation_token": token, "consistency": NEWEST}
            answer = _answer(*await self._server.ask(f"{self._store}/read", body))
            listed = answer.get("tuples")
            for one in listed if isinstance(listed, list) else ():
                if isinstance(one, dict):
                    held = Relationship(
                        *(text_in(one, "key", name) for name in ("object", "relation", "user"))
                    )
                    found += [held] if fits(held, wanted) else []
            token = text_in(answer, "continuation_token")
            if not token or len(found) >= limit:
                break
        return sorted(found)[:limit]

    async def load_model(self, source: str) -> str:
        """Let a model count."""
        body = msgspec.json.decode(json_of(read_model(source)), type=dict[str, object])
        answer = _answer(*await self._server.ask(f"{self._store}/authorization-models", body))
        return f"openfga:{text_in(answer, 'authorization_model_id')}"

    async def model(self) -> str:
        """Return the model that counts."""
        newest = await self._newest()
        return "" if newest is None else text_of(read_model(encode(newest).decode()))

    async def _model_id(self) -> str:
        newest = await self._newest()
        if newest is None:
            raise BadInputError("There is no model.", fix="hive relation model load FILE")
        return text_in(newest, "id")

    async def _newest(self) -> dict[str, Json] | None:
        path = f"{self._store}/authorization-models?page_size=1"
        listed = _answer(*await self._server.ask(path)).get("authorization_models")
        first = listed[0] if isinstance(listed, list) and listed else None
        return first if isinstance(first, dict) else None


def fits(one: Relationship, wanted: RelationFilter) -> bool:
    """Tell whether a relationship is one of those that are wanted."""
    of_type = wanted.object.endswith(":") and one.object.startswith(wanted.object)
    return (
        (not wanted.object or of_type or one.object == wanted.object)
        and wanted.relation in ("", one.relation)
        and wanted.subject in ("", one.subject)
    )


async def _store(server: RelationServer, name: str) -> str:
    """Return the id of the store of a name. Raises EngineError."""
    answer = _answer(*await server.ask(f"/stores?name={quote(name, safe='')}"))
    listed = answer.get("stores")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and name in (text_in(one, "name"), text_in(one, "id")):
            return text_in(one, "id")
    return text_in(_answer(*await server.ask("/stores", {"name": name})), "id")


def _strictness(change: RelationChange) -> tuple[bool, bool]:
    """Return whether what is added must be absent, and what is removed present. Raises BadInputError."""
    absent, present = set(change.absent), set(change.present)
    if (
        change.at
        or (absent and absent != set(change.added))
        or (present and present != set(change.removed))
    ):
        raise BadInputError(
            "OpenFGA has no such precondition.",
            why="What is added may have to be absent, and what is removed present; all of it or none.",
        )
    return bool(absent), bool(present)


def _key(one: Relationship) -> Mapping[str, str]:
    return {"object": one.object, "relation": one.relation, "user": one.subject}


def _answer(status: int, told: Sequence[dict[str, Json]]) -> dict[str, Json]:
    """Return what was answered. Raises BadInputError, ConflictError, EngineError."""
    answer = told[0] if told else {}
    if status in (200, 201):
        return answer
    code, why = text_in(answer, "code"), plain_text(text_in(answer, "message"))[:400]
    if status == 409 or code == "write_failed_due_to_invalid_input":
        raise ConflictError("The relationships are not what the write asks for.", why=why)
    if status == 400:
        raise BadInputError("The relation server does not take that.", why=why)
    raise EngineError("The relation server did not answer.", why=f"Status {status}. {why}".strip())


def _lines(node: Json, depth: int, lines: list[str]) -> None:
    """Write a tree of usersets as lines."""
    if not isinstance(node, dict) or depth > DEPTH_SHOWN_MAX or len(lines) >= LINES_MAX:
        return
    lines.append(f"{'  ' * depth}{text_in(node, 'name')}{_leaf(node.get('leaf'))}")
    for key in ("union", "intersection", "difference"):
        inner = node.get(key)
        if not isinstance(inner, dict):
            continue
        lines.append(f"{'  ' * depth}{key} of")
        nodes = inner.get("nodes")
        children = nodes if isinstance(nodes, list) else [inner.get("base"), inner.get("subtract")]
        for one in children:
            _lines(one, depth + 1, lines)


def _leaf(leaf: Json) -> str:
    if not isinstance(leaf, dict):
        return ""
    if users := leaf.get("users"):
        listed = users.get("users") if isinstance(users, dict) else None
        return f" is {', '.join(map(str, listed))}" if isinstance(listed, list) and listed else ""
    return f" is {encode(leaf).decode()}"
