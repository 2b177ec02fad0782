"""What the entries say of tasks, held against what the projection says.

Both are written in one transaction, so they differ only if somebody changed one of them.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final, cast

from hive.core.json import Json
from hive.engines.ports import Row, Transaction
from hive.ledger.entry import Entry

TASKS_PER_QUERY: Final = 1000


@dataclass(slots=True)
class _Told:
    node: str
    fixed: tuple[Json, ...] = ()
    state: Json = ""
    status: Json = ""
    contents: bytes = b""
    several_nodes: bool = False


@dataclass(slots=True)
class ProjectedTasks:
    """The tasks as the entries tell them; per task a few words and one hash."""

    tasks: dict[str, _Told] = field(default_factory=dict)

    def add(self, entry: Entry, body: dict[str, Json]) -> None:
        """Take in the moves that one entry names."""
        moves = body.get("moves")
        if not isinstance(moves, list):
            return
        node = entry.chain.rpartition(".")[0]
        for move in moves:
            if isinstance(move, dict) and isinstance(move.get("task"), str):
                told = self.tasks.setdefault(cast("str", move["task"]), _Told(node))
                _apply(told, move, node)


async def projection_problem(snapshot: Transaction, told: ProjectedTasks) -> str:
    """Return what is wrong with the first task that differs, or nothing."""
    after, seen = "", 0
    while True:
        rows = await snapshot.fetch(
            "SELECT t.*, a.contents, a.missing FROM task t LEFT JOIN LATERAL ("
            "SELECT array_agg(l.kind || ' ' || l.content_id ORDER BY l.position) AS contents, "
            "bool_or(c.id IS NULL) AS missing FROM task_content l "
            "LEFT JOIN content c ON c.id = l.content_id WHERE l.task = t.id) a ON true "
            "WHERE t.id > $1 ORDER BY t.id LIMIT $2",
            after,
            TASKS_PER_QUERY,
        )
        for row in rows:
            problem = _difference(row, told.tasks.get(cast("str", row["id"])))
            if problem:
                return f"task {row['id']}: {problem}"
        seen += len(rows)
        if len(rows) < TASKS_PER_QUERY:
            break
        after = cast("str", rows[-1]["id"])
    if seen != len(told.tasks):
        return f"{len(told.tasks) - seen} tasks that the entries tell of are missing"
    return ""


def _apply(told: _Told, move: dict[str, Json], node: str) -> None:
    told.several_nodes |= told.node != node
    if "agent" in move:
        told.fixed = tuple(
            move.get(name) for name in ("context", "agent", "owner", "caller", "data")
        )
    told.state = move.get("state", told.state)
    told.status = move.get("status", told.status)
    contents = move.get("contents")
    if isinstance(contents, list):
        for content in contents:
            kind, content_id = cast("list[str]", content)
            told.contents = _chained(told.contents, f"{kind} {content_id}")


def _difference(row: Row, told: _Told | None) -> str:
    if told is None:
        return "no entry tells of it"
    if row["missing"]:
        return "one of its contents is missing"
    fixed = tuple(row[name] for name in ("context_id", "agent", "owner", "caller", "data_content"))
    if fixed != told.fixed:
        return "it is not the one that its entries tell of"
    if told.several_nodes:
        return ""  # Chains of several nodes have no common order to compare the rest by.
    if (row["state"], row["status_content"]) != (told.state, told.status):
        return f"it is {row['state']}, its entries say {told.state}"
    contents = b""
    for content in cast("list[str]", row["contents"] or []):
        contents = _chained(contents, content)
    return (
        "" if contents == told.contents else "its contents are not those that its entries tell of"
    )


def _chained(before: bytes, content: str) -> bytes:
    return hashlib.sha256(before + content.encode()).digest()
