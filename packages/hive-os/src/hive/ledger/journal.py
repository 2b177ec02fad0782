"""One run in order: intents with their results, as recovery and replay read them.

An intent without a result is open: it was allowed, and nobody knows whether it happened.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from hive.core.ids import CallId, TaskId
from hive.core.json import Json, decode
from hive.engines.ports import Database
from hive.ledger.asked import Asked, unpack
from hive.ledger.contents import Contents
from hive.ledger.entry import Entry, EntryKind
from hive.ledger.rows import COLUMNS, WRITTEN_ORDER, entries_of_task, entry_of

ADMITTED: Final = "admitted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An admitted call: its intent, its result if one was written, and the result's content.

    `content` is None where there is none, or where its owner was forgotten. `decisions` are what
    people said of the call, in order. `asked` is read by `effects` alone: what an agent asked.
    """

    intent: Entry
    result: Entry | None = None
    content: bytes | None = None
    decisions: tuple[Entry, ...] = ()
    asked: Asked | None = None

    @property
    def call(self) -> CallId:
        """Return the id of the call."""
        return cast("CallId", self.intent.call)

    @property
    def open(self) -> bool:
        """Tell whether nobody knows how the call ended."""
        return self.result is None


def body_of(entry: Entry) -> dict[str, Json]:
    """Return the body of an entry as a value."""
    return cast("dict[str, Json]", decode(entry.body))


class Journal:
    """Reads runs; nothing here writes."""

    def __init__(self, database: Database, contents: Contents) -> None:
        self._database = database
        self._contents = contents

    async def task(self, task: TaskId) -> list[Step]:
        """Return the admitted calls of a task, in the order of their intents."""
        return await self._steps(await entries_of_task(self._database, task))

    async def children(self, parent: CallId) -> list[Step]:
        """Return the admitted calls that were made inside the turn of `parent`, in order.

        A child that is a message to another agent belongs to another task; it is among them.
        """
        rows = await self._database.fetch(
            f"SELECT {COLUMNS} FROM entry WHERE call IN "  # noqa: S608
            "(SELECT call FROM entry WHERE parent = $1 AND kind = 'intent') "
            f"ORDER BY {WRITTEN_ORDER}",
            parent,
        )
        return await self._steps([entry_of(row) for row in rows])

    async def effects(self, parent: CallId) -> list[Step]:
        """Return all calls made inside the turn of `parent`, refused ones too, with what they asked."""
        rows = await self._database.fetch(
            f"SELECT {COLUMNS} FROM entry WHERE call IN "  # noqa: S608
            "(SELECT call FROM entry WHERE parent = $1 AND kind = 'intent') "
            f"ORDER BY {WRITTEN_ORDER}",
            parent,
        )
        entries = [entry_of(row) for row in rows]
        steps = await self._steps(entries, refused=True)
        asked = await self._contents.open_many(
            [step.intent.content_id for step in steps if step.intent.content_id]
        )
        return [replace(step, asked=_asked(step.intent, asked)) for step in steps]

    async def events(self, task: TaskId) -> list[Entry]:
        """Return the events of a task, in order."""
        entries = await entries_of_task(self._database, task)
        return [entry for entry in entries if entry.kind is EntryKind.EVENT]

    async def recorded(self, calls: Iterable[CallId]) -> Mapping[CallId, Step]:
        """Return what the ledger knows of these calls; unknown and refused ones are left out."""
        rows = await self._database.fetch(
            f"SELECT {COLUMNS} FROM entry WHERE call = ANY($1::text[]) "  # noqa: S608
            f"ORDER BY {WRITTEN_ORDER}",
            list(calls),
        )
        steps = await self._steps([entry_of(row) for row in rows])
        return {step.call: step for step in steps}

    async def open_intents(self, chain: str) -> list[Entry]:
        """Return the admitted intents of one chain that have no result in any chain."""
        rows = await self._database.fetch(
            f"SELECT {COLUMNS} FROM entry e WHERE chain = $1 AND kind = 'intent' "  # noqa: S608
            "AND call IS NOT NULL AND NOT EXISTS "
            "(SELECT FROM entry r WHERE r.call = e.call AND r.kind = 'result') ORDER BY sequence",
            chain,
        )
        return [entry for entry in map(entry_of, rows) if _admitted(entry)]

    async def _steps(self, entries: Sequence[Entry], *, refused: bool = False) -> list[Step]:
        intents: dict[CallId, Entry] = {}
        results: dict[CallId, Entry] = {}
        decisions: dict[CallId, list[Entry]] = {}
        for entry in entries:
            if entry.call is None:
                continue
            if entry.kind is EntryKind.INTENT and (refused or _admitted(entry)):
                intents.setdefault(entry.call, entry)
            elif entry.kind is EntryKind.RESULT:
                results[entry.call] = entry
            elif entry.kind is EntryKind.DECISION:
                decisions.setdefault(entry.call, []).append(entry)
        opened = await self._contents.open_many(
            [entry.content_id for entry in results.values() if entry.content_id]
        )
        return [
            Step(
                intent=intent,
                result=results.get(call),
                content=_content(results.get(call), opened),
                decisions=tuple(decisions.get(call, ())),
            )
            for call, intent in intents.items()
        ]


def _admitted(entry: Entry) -> bool:
    return body_of(entry).get("decision", ADMITTED) == ADMITTED


def _content(result: Entry | None, opened: Mapping[str, bytes | None]) -> bytes | None:
    return None if result is None or not result.content_id else opened[result.content_id]


def _asked(intent: Entry, opened: Mapping[str, bytes | None]) -> Asked | None:
    content = opened.get(intent.content_id) if intent.content_id else None
    return None if content is None else unpack(content)
