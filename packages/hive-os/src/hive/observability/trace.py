"""A task as a tree: the ledger's calls, and the spans beside them, with timings.

The calls come from the ledger and are proof; a span that an agent sent of itself is marked as its own
word. `render` is for people and strips what could steer a terminal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, cast

from hive.core.errors import NotFoundError
from hive.core.ids import plain_text, printable
from hive.core.json import Json, decode
from hive.engines.ports import Database, Row
from hive.observability.conventions import FROM_AGENT, SPAN_SOURCE, TURN, span_name
from hive.observability.ports import SpanStore
from hive.observability.spans import Span, SpanStatus

ENTRIES_MAX: Final = 20_000
NAME_WIDTH_CHARS: Final = 60
DEPTH_MAX: Final = 64
_TRACE_ID_CHARS: Final = 32


@dataclass(slots=True, kw_only=True)
class TraceNode:
    """One step. `state` is ok, failed, refused, open, canceled, parked, or empty for an event."""

    name: str
    start: float
    duration_ms: float | None = None
    state: str = ""
    note: str = ""
    call: str = ""
    task: str = ""
    agent: str = ""
    source: str = "ledger"
    children: list["TraceNode"] = field(default_factory=list)

    def walk(self, depth: int = 0) -> "Iterator[tuple[int, TraceNode]]":
        """Yield this step and all below it, with their depth."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)


async def trace_tree(
    database: Database, reference: str, *, spans: SpanStore | None = None
) -> TraceNode:
    """Return the tree of a task, or of a trace (32 hexadecimal digits).

    Raises:
        NotFoundError: neither the ledger nor the spans know it.

    """
    rows = await _rows(database, reference)
    traces = {cast("str", row["trace_id"]) for row in rows if row["trace_id"]}
    if len(reference) == _TRACE_ID_CHARS:
        traces.add(reference)
    seen: list[Span] = []
    if spans is not None:
        for trace in sorted(traces):
            seen += await spans.of_trace(trace)
    if not rows and not seen:
        raise NotFoundError(
            f"There is no task or trace {printable(reference)}.",
            why="Neither the ledger nor the spans know it.",
            fix="`hive ps` lists tasks.",
        )
    return _tree(reference, rows, seen)


def render(tree: TraceNode) -> str:
    """Draw a tree for people, a line a step."""
    return "\n".join(_lines(tree, "", "", 0)) + "\n"


def trace_json(tree: TraceNode) -> dict[str, Json]:
    """Return a tree as JSON."""
    return {
        "name": tree.name,
        "start": tree.start,
        "duration_ms": tree.duration_ms,
        "state": tree.state,
        "note": tree.note,
        "call": tree.call,
        "task": tree.task,
        "agent": tree.agent,
        "source": tree.source,
        "children": [trace_json(child) for child in tree.children],
    }


async def _rows(database: Database, reference: str) -> Sequence[Row]:
    return await database.fetch(
        "SELECT chain, sequence, kind, name, at, call, task, agent, trace_id, span_id, body "
        "FROM entry WHERE trace_id IN (SELECT $1::text UNION SELECT trace_id FROM entry "
        "WHERE task = $1 AND trace_id <> '') OR task = $1 "
        "ORDER BY at, chain, sequence LIMIT $2",
        reference,
        ENTRIES_MAX,
    )


class _Builder:
    def __init__(self) -> None:
        self.calls: dict[str, TraceNode] = {}
        self.by_span: dict[str, TraceNode] = {}
        self.parents: dict[int, tuple[str, str]] = {}
        self.nodes: list[TraceNode] = []
        self.turns: dict[int, list[TraceNode]] = {}
        self.asked: dict[str, str] = {}

    def entry(self, row: Row) -> None:
        body = cast("dict[str, Json]", decode(cast("str", row["body"])))
        call = cast("str", row["call"] or "")
        match row["kind"]:
            case "intent" if call not in self.calls:
                self._intent(row, body, call)
            case "result" if call in self.calls:
                _close(self.calls[call], row, body)
            case _:
                self._event(row, body, call)

    def _intent(self, row: Row, body: dict[str, Json], call: str) -> None:
        verb, target = str(body.get("verb", "")), str(body.get("target", ""))
        node = TraceNode(
            name=span_name(verb, target) if verb else cast("str", row["name"]),
            start=cast("datetime", row["at"]).timestamp(),
            state="refused" if body.get("decision") == "refused" else "open",
            note=str(body.get("reason", "")),
            call=call,
            task=cast("str", row["task"] or ""),
            agent=cast("str", row["agent"]),
        )
        self.calls[call] = node
        if row["span_id"]:
            self.by_span[cast("str", row["span_id"])] = node
        self._add(node, str(body.get("parent") or ""), "")

    def _event(self, row: Row, body: dict[str, Json], call: str) -> None:
        node = TraceNode(
            name=cast("str", row["name"]),
            start=cast("datetime", row["at"]).timestamp(),
            note=str(body.get("reason") or body.get("note") or ""),
            task=cast("str", row["task"] or ""),
            agent=cast("str", row["agent"]),
        )
        # A person's answer names the question; the question named the call.
        approval = str(body.get("approval") or "")
        call = call or str(body.get("call") or "") or self.asked.get(approval, "")
        if approval:
            self.asked.setdefault(approval, call)
        self._add(node, call, cast("str", row["span_id"]))

    def span(self, span: Span) -> None:
        known = self.by_span.get(span.context.span_id)
        if known is not None:
            return  # The ledger tells of the same step, and its word counts.
        own_word = span.attributes.get(SPAN_SOURCE) == FROM_AGENT
        node = TraceNode(
            name=span.name,
            start=span.start_ns / 1e9,
            duration_ms=(span.end_ns - span.start_ns) / 1e6,
            state="failed" if span.status is SpanStatus.ERROR else "ok",
            note=span.status_note,
            source="agent" if own_word else "span",
        )
        self.by_span[span.context.span_id] = node
        self._add(node, "", span.parent_id)

    def _add(self, node: TraceNode, call: str, span_id: str) -> None:
        self.nodes.append(node)
        self.parents[id(node)] = (call, span_id)

    def roots(self) -> list[TraceNode]:
        roots = []
        for node in sorted(self.nodes, key=lambda one: one.start):
            call, span_id = self.parents[id(node)]
            above = self.calls.get(call) or self.by_span.get(span_id)
            if above is None or above is node or self._below(above, node):
                roots.append(node)
            else:
                self._turn_of(node, above).children.append(node)
                if node.name == TURN and node.source == "span":
                    self.turns.setdefault(id(above), []).append(node)
        return roots

    def _turn_of(self, node: TraceNode, above: TraceNode) -> TraceNode:
        """Return the turn in which an inner call was made: a task that a crash cut has several."""
        if not node.call:
            return above
        for turn in self.turns.get(id(above), ()):
            if turn.start <= node.start <= turn.start + (turn.duration_ms or 0.0) / 1000:
                return turn
        return above

    def _below(self, node: TraceNode, top: TraceNode) -> bool:
        """Tell whether `node` hangs below `top`: parents that name each other must not loop."""
        for _ in range(DEPTH_MAX):
            if node is top:
                return True
            call, span_id = self.parents[id(node)]
            above = self.calls.get(call) or self.by_span.get(span_id)
            if above is None or above is node:
                return False
            node = above
        return True


def _tree(reference: str, rows: Sequence[Row], spans: Sequence[Span]) -> TraceNode:
    builder = _Builder()
    for row in rows:
        builder.entry(row)
    for span in spans:
        builder.span(span)
    roots = builder.roots()
    if len(roots) == 1:
        return roots[0]
    ends = [root.start + (root.duration_ms or 0.0) / 1000 for root in roots]
    start = min(root.start for root in roots)
    return TraceNode(
        name=reference,
        start=start,
        duration_ms=(max(ends) - start) * 1000,
        source="view",
        children=roots,
    )


def _close(node: TraceNode, row: Row, body: dict[str, Json]) -> None:
    node.state = str(body.get("outcome", "ok"))
    node.note = str(body.get("note", "")) or node.note
    took = body.get("duration_ms")
    ended = cast("datetime", row["at"]).timestamp()
    node.duration_ms = float(took) if isinstance(took, int | float) else (ended - node.start) * 1000


_MARKS: Final = {"failed": "✗ ", "refused": "✗ ", "open": "… ", "parked": "‖ ", "canceled": "- "}


def _lines(node: TraceNode, lead: str, below: str, depth: int) -> Iterator[str]:
    mark = _MARKS.get(node.state, "")
    name = plain_text(node.name)[: max(12, NAME_WIDTH_CHARS - len(lead))]
    said = [node.state] if node.state not in ("", "ok") else []
    said += [plain_text(node.note)[:NAME_WIDTH_CHARS]] if node.note else []
    said += ["says the agent"] if node.source == "agent" else []
    took = "" if node.duration_ms is None else f"{_duration(node.duration_ms):>9}"
    left = f"{lead}{mark}{name}"
    yield f"{left:<{NAME_WIDTH_CHARS + 6}}{took:>9}  {' · '.join(said)}".rstrip()
    if depth >= DEPTH_MAX:
        return
    for position, child in enumerate(node.children):
        last = position == len(node.children) - 1
        yield from _lines(
            child,
            below + ("└ " if last else "├ "),
            below + ("  " if last else "│ "),
            depth + 1,
        )


def _duration(duration_ms: float) -> str:
    if duration_ms < 1000:
        return f"{duration_ms:.1f} ms"
    return f"{duration_ms / 1000:.2f} s"
