"""The book of definitions: first seen, approved, changed. Kept in the database, read without it.

A definition that nobody approved and that has nothing hard against it is pinned on first sight. Whatever comes
under that name later is compared with the pinned form: another form is kept beside it and blocked until an
operator approves exactly that form. A tool that its server takes away keeps its pin.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, cast

import msgspec

from hive.core.clock import Clock
from hive.core.errors import NotFoundError, StateError
from hive.core.ids import plain_text
from hive.core.json import Json, encode
from hive.engines.ports import Database, Row
from hive.protocols.mcp.effects import effect_of
from hive.protocols.mcp.pins.look import NameIndex, Suspicion, look
from hive.protocols.mcp.ports import (
    FIRST_SIGHT,
    McpObject,
    PinnedTool,
    PinState,
    ServerSpec,
    ToolDefinition,
)

_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])
_KEEP: Final = (
    "INSERT INTO mcp_pin (server, tool, state, digest, definition, approved_digest, approved_definition,"
    " approved_by, flags, seen_at, decided_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
    " ON CONFLICT (server, tool) DO UPDATE SET state = excluded.state, digest = excluded.digest,"
    " definition = excluded.definition, approved_digest = excluded.approved_digest,"
    " approved_definition = excluded.approved_definition, approved_by = excluded.approved_by,"
    " flags = excluded.flags, seen_at = excluded.seen_at, decided_at = excluded.decided_at"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinEntry:
    """What the book holds of one tool. `approved` is the form that may be used, None before the first."""

    server: str
    tool: str
    state: PinState
    seen: ToolDefinition
    approved: ToolDefinition | None
    approved_by: str
    flags: tuple[str, ...]
    seen_at: datetime
    decided_at: datetime | None = None


Note = Callable[[str, dict[str, Json]], Awaitable[None]]


class PinBook:
    """Judges what servers list, and takes an operator's decisions."""

    def __init__(self, *, database: Database, clock: Clock, note: Note) -> None:
        self._database = database
        self._clock = clock
        self._note = note
        self._entries: dict[tuple[str, str], PinEntry] = {}
        self._names = NameIndex()
        self._observers: list[Callable[[str], None]] = []

    async def load(self) -> None:
        """Read the book; call it before the first judgement."""
        for row in await self._database.fetch("SELECT * FROM mcp_pin ORDER BY seen_at"):
            self._hold(_from_row(row))

    def on_change(self, observer: Callable[[str], None]) -> Callable[[], None]:
        """Call `observer` with a server's name after a decision on one of its definitions."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    async def judge(
        self, spec: ServerSpec, listed: Sequence[ToolDefinition]
    ) -> Sequence[PinnedTool]:
        """Return what a server lists with the state of each definition; new ones are kept as first seen."""
        judged, news = [], []
        # A name that it shares with another server's tool is no name of its own that it may speak of.
        names = frozenset(one.name for one in listed if not self._names.has_posing(one))
        for definition in listed:
            known = self._entries.get((definition.server, definition.name))
            entry = self._judged(definition, known, names)
            if entry is not known:
                news.append((entry, known))
                self._hold(entry)
            judged.append(_pinned(spec, entry))
        if news:
            await self._write([entry for entry, _ in news])
            for entry, known in news:
                if entry.state is not PinState.PINNED:
                    await self._tell("tool.blocked", entry, was=known)
        return judged

    def entry(self, full_name: str) -> PinEntry:
        """Return what is held of a tool. Raises NotFoundError."""
        server, _, tool = full_name.partition(".")
        found = self._entries.get((server, tool))
        if found is None:
            raise NotFoundError(
                f"No tool {plain_text(full_name)[:80]!r} was ever seen.", fix="hive tool list"
            )
        return found

    def waiting(self) -> Sequence[PinEntry]:
        """Return the definitions that wait for a person, oldest first."""
        blocked = (one for one in self._entries.values() if one.state is not PinState.PINNED)
        return sorted(blocked, key=lambda one: one.seen_at)

    async def approve(self, full_name: str, digest: str, *, by: str) -> PinEntry:
        """Let a definition be used: exactly the form with this digest.

        Raises:
            NotFoundError: no such tool was ever seen.
            StateError: its form is another one by now.

        """
        entry = self.entry(full_name)
        if entry.seen.digest != digest:
            raise StateError(
                f"{full_name} has changed again.",
                why=f"Shown was {plain_text(digest)[:12]}; the server lists {entry.seen.digest[:12]} now.",
                fix=f"hive tool approve {full_name}     shows the newest form",
            )
        approved = replace(
            entry,
            state=PinState.PINNED,
            approved=entry.seen,
            approved_by=by,
            decided_at=self._clock.now(),
        )
        await self._decide("tool.approved", approved, entry)
        return approved

    async def block(self, full_name: str, *, by: str) -> PinEntry:
        """Take a tool out of use until its form is approved. Raises NotFoundError."""
        entry = self.entry(full_name)
        flags = tuple(dict.fromkeys((*entry.flags, f"blocked by {by}")))
        blocked = replace(
            entry,
            state=PinState.FLAGGED,
            approved=None,
            approved_by="",
            flags=flags,
            decided_at=self._clock.now(),
        )
        await self._decide("tool.blocked", blocked, entry)
        return blocked

    async def forget(self, server: str) -> None:
        """Forget all definitions of a server that was removed by an operator."""
        await self._database.execute("DELETE FROM mcp_pin WHERE server = $1", server)
        for key in [key for key in self._entries if key[0] == server]:
            del self._entries[key]
            self._names.remove(*key)

    def _judged(
        self, definition: ToolDefinition, known: PinEntry | None, names: frozenset[str]
    ) -> PinEntry:
        if known is not None and known.seen.digest == definition.digest:
            return known
        approved = known.approved if known is not None else None
        if approved is not None and approved.digest == definition.digest:
            return replace(
                cast("PinEntry", known), state=PinState.PINNED, seen=definition, flags=()
            )
        findings = look(definition, self._names, own=names)
        state = _state(findings, first=known is None, had=approved)
        pinned = state is PinState.PINNED
        return PinEntry(
            server=definition.server,
            tool=definition.name,
            state=state,
            seen=definition,
            approved=definition if pinned else approved,
            approved_by=FIRST_SIGHT if pinned else (known.approved_by if known else ""),
            flags=tuple(finding.text for finding in findings),
            seen_at=self._clock.now(),
        )

    async def _decide(self, name: str, entry: PinEntry, was: PinEntry) -> None:
        await self._tell(name, entry, was=was)
        await self._write([entry])
        self._hold(entry)
        for observer in tuple(self._observers):
            observer(entry.server)

    async def _tell(self, name: str, entry: PinEntry, *, was: PinEntry | None) -> None:
        before = was.approved.digest if was is not None and was.approved is not None else ""
        await self._note(
            name,
            {
                "tool": f"{entry.server}.{entry.tool}",
                "digest": entry.seen.digest,
                "before": before,
                "state": entry.state.value,
                "flags": list(entry.flags),
                "by": entry.approved_by,
            },
        )

    def _hold(self, entry: PinEntry) -> None:
        self._entries[entry.server, entry.tool] = entry
        self._names.add(entry.server, entry.tool, entry.seen.digest)

    async def _write(self, entries: Sequence[PinEntry]) -> None:
        async with self._database.transaction() as transaction:
            for entry in entries:
                await transaction.execute(_KEEP, *_row(entry))


def _state(findings: Sequence[Suspicion], *, first: bool, had: ToolDefinition | None) -> PinState:
    if had is not None:
        return PinState.CHANGED
    if any(one.shadows for one in findings):
        return PinState.SHADOWING
    # What was blocked once stays so in any other form: a harmless one may only be a step on a way.
    return PinState.PINNED if first and not any(one.hard for one in findings) else PinState.FLAGGED


def _pinned(spec: ServerSpec, entry: PinEntry) -> PinnedTool:
    usable = entry.state is PinState.PINNED
    return PinnedTool(
        definition=entry.seen,
        state=entry.state,
        effect=effect_of(spec, entry.seen, approved_by=entry.approved_by if usable else ""),
        flags=entry.flags,
        approved=None if usable else entry.approved,
        approved_by=entry.approved_by,
        seen_at=entry.seen_at,
    )


def _row(entry: PinEntry) -> tuple[str | bytes | datetime | None, ...]:
    approved = entry.approved
    same = approved is not None and approved.digest == entry.seen.digest
    return (
        entry.server,
        entry.tool,
        entry.state.value,
        entry.seen.digest,
        encode(entry.seen.raw),
        "" if approved is None else approved.digest,
        None if approved is None or same else encode(approved.raw),
        entry.approved_by,
        encode(list(entry.flags)).decode(),
        entry.seen_at,
        entry.decided_at,
    )


def _from_row(row: Row) -> PinEntry:
    server, tool = str(row["server"]), str(row["tool"])
    seen = _definition(server, tool, cast("bytes", row["definition"]), str(row["digest"]))
    digest, kept = str(row["approved_digest"]), cast("bytes | None", row["approved_definition"])
    approved = seen if digest == seen.digest else None
    if digest and approved is None and kept is not None:
        approved = _definition(server, tool, kept, digest)
    return PinEntry(
        server=server,
        tool=tool,
        state=PinState(str(row["state"])),
        seen=seen,
        approved=approved,
        approved_by=str(row["approved_by"]),
        flags=tuple(msgspec.json.decode(str(row["flags"]), type=list[str])),
        seen_at=cast("datetime", row["seen_at"]),
        decided_at=cast("datetime | None", row["decided_at"]),
    )


def _definition(server: str, tool: str, raw: bytes, digest: str) -> ToolDefinition:
    read: McpObject = _OBJECT.decode(raw)
    return ToolDefinition(server=server, name=tool, raw=read, digest=digest)
