"""How the node's answers look as text: lines, tables and the tree of a trace."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from hive.cli.session import fact, paint, took
from hive.core.ids import plain_text
from hive.web.values import (
    AgentStatus,
    AuditRecord,
    AuditVerdict,
    EngineStatus,
    LogRecord,
    NodeStatus,
    TokenSummary,
    TracedStep,
    TraceTree,
    WallStatus,
)

_STATE_COLOR: Final = {
    "ok": "green",
    "ready": "green",
    "completed": "green",
    "degraded": "yellow",
    "unverified": "yellow",
    "starting": "yellow",
    "failed": "red",
    "broken": "red",
    "refused": "red",
}
TRACE_TEXT_COLUMN: Final = 64
LINE_MAX_CHARS: Final = 400


def state(word: str) -> str:
    """Return a state in its colour."""
    return paint(word, _STATE_COLOR[word]) if word in _STATE_COLOR else word


def one_line(text: str, limit_chars: int = LINE_MAX_CHARS) -> str:
    """Return foreign text as one harmless line."""
    flat = " ".join(plain_text(text, keep="\n\t").split())
    return flat if len(flat) <= limit_chars else flat[: limit_chars - 1] + "…"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a plain table, each column as wide as it must be."""
    cells = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    for row in cells:
        padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()


def engine_words(engines: Sequence[EngineStatus]) -> str:
    """Return `postgres 18.4 (embedded) · nats 2.15.1 (embedded)`."""
    seen = dict.fromkeys(
        f"{engine.engine} {engine.version}" + (" (embedded)" if engine.embedded else "")
        for engine in engines
    )
    return " · ".join(seen)


def wall_words(walls: Sequence[WallStatus]) -> str:
    """Return the walls that stand, by name."""
    return " · ".join(wall.name.replace("-", " ") for wall in walls if wall.stands) or "none"


def welcome_lines(found: NodeStatus, *, link: str = "") -> Iterator[str]:
    """Yield what a node says when it is up."""
    yield f"Hive {found.version}   {found.address}"
    ready = f"ready in {took(found.ready_ms)}" if found.ready_ms is not None else ""
    yield fact("engines", engine_words(found.engines), ready)
    yield fact("walls", wall_words(found.walls), f"tier: {found.tier}" if found.tier else "")
    doors = " · ".join(name for name, is_open in sorted(found.doors.items()) if is_open)
    yield fact("doors", doors)
    if link:
        yield fact("page", link)
    for line in found.degraded:
        yield fact("degraded", one_line(line))
    yield "Next:  hive run ./my_agent.py:agent     or see it work:  hive demo"


def status_lines(found: NodeStatus) -> Iterator[str]:
    """Yield `hive status`."""
    yield f"node        {found.node_id}   pid {found.pid}, {found.mode}, up since {_clock(found.started_at)}"
    yield f"address     {found.address}"
    yield f"state       {found.state_dir}"
    if found.token_file:
        yield f"token       {found.token_file}"
    doors = ", ".join(
        name if is_open else f"{name} (closed)" for name, is_open in sorted(found.doors.items())
    )
    yield f"doors       {doors}"
    for engine in found.engines:
        word = f"{engine.engine} {engine.version}" + (" embedded" if engine.embedded else "")
        detail = "" if engine.state == "ok" else f"   {one_line(engine.detail)}"
        yield f"{engine.port:<11} {word:<28} {state(engine.state)}{detail}"
    yield f"walls       {wall_words(found.walls)}"
    yield (
        f"work        {found.agents} agents, {found.tasks_open} open tasks, "
        f"{found.ledger_entries} ledger entries since the start, {mebibytes(found.memory_bytes)}"
    )
    for line in found.degraded:
        yield f"{state('degraded')}    {one_line(line)}"


def agent_rows(agents: Sequence[AgentStatus]) -> Iterator[str]:
    """Yield `hive ps`."""
    rows = (
        (
            agent.name,
            agent.state,
            agent.tier,
            str(agent.turns_running),
            str(agent.turns_waiting),
            str(agent.restarts),
            mebibytes(agent.memory_bytes),
            one_line(agent.reason or agent.description or agent.shape, 60),
        )
        for agent in agents
    )
    heads = ("AGENT", "STATE", "TIER", "TURNS", "WAITING", "RESTARTS", "MEMORY", "ABOUT")
    return table(heads, rows)


def agent_lines(agent: AgentStatus) -> Iterator[str]:
    """Yield `hive agent show`."""
    yield f"{agent.name}   {state(agent.state)}   {one_line(agent.description)}".rstrip()
    yield fact("shape", one_line(agent.shape) or "not loaded yet")
    yield fact("source", agent.source)
    yield fact("card", agent.card)
    yield fact("tier", f"{agent.tier}   {wall_words(agent.walls)}")
    yield fact("turns", f"{agent.turns_running} running, {agent.turns_waiting} waiting")
    yield fact("sandboxes", f"{agent.sandboxes}, {mebibytes(agent.memory_bytes)}")
    yield fact("restarts", str(agent.restarts))
    if agent.reason:
        yield fact("reason", one_line(agent.reason))


def explain_lines(agent: AgentStatus) -> Iterator[str]:
    """Yield `hive agent explain`: what was asked, what was given, which tier and why."""
    yield f"{agent.name}   tier {agent.tier}"
    if agent.why_tier:
        yield fact("why", agent.why_tier)
    yield from _listed("needs", agent.needs, "nothing")
    yield from _listed("granted", agent.grant, "nothing")
    for wall in agent.walls:
        mark = "stands" if wall.stands else "missing"
        yield fact("wall", f"{wall.name:<14} {mark:<8} {one_line(wall.detail)}")
    yield fact("digest", agent.digest)


def log_line(record: LogRecord, *, named: bool) -> str:
    """Return one line of an agent's log."""
    name = f"{record.agent}  " if named else ""
    level = "" if record.level == "info" else f"{record.level.upper()} "
    return f"{_clock(record.at)}  {name}{level}{plain_text(record.text)}"


def trace_lines(tree: TraceTree) -> Iterator[str]:
    """Yield the tree of a trace with its timings."""
    yield f"{tree.agent}   task {tree.task_id}   {state(tree.state)}   {took(tree.duration_ms)}"
    steps = list(_grouped(tree.steps))
    for place, (step, times) in enumerate(steps, 1):
        after = next((one.depth for one, _ in steps[place:] if one.depth <= step.depth), -1)
        yield step_line(step, times, last=after < step.depth)
    if tree.truncated:
        yield "  … more steps than are shown; `hive trace --json` has all that were kept"


def _grouped(steps: Sequence[TracedStep]) -> Iterator[tuple[TracedStep, int]]:
    """Yield each step with how often it stands there in a row, alike and without inner steps."""
    held: TracedStep | None = None
    times = 0
    for step in steps:
        if held is not None and _alike(held, step):
            times += 1
            held = msgspec.structs.replace(
                held, duration_ms=(held.duration_ms or 0) + (step.duration_ms or 0)
            )
            continue
        if held is not None:
            yield held, times
        held, times = step, 1
    if held is not None:
        yield held, times


def _alike(one: TracedStep, other: TracedStep) -> bool:
    def face(step: TracedStep) -> tuple[object, ...]:
        return (step.depth, step.name, step.target, step.outcome, step.check, step.detail)

    return face(one) == face(other)


def step_line(step: TracedStep, times: int = 1, *, last: bool = False) -> str:
    """Return one step: its place in the tree, what it was, how it ended, how long it took."""
    indent = "  " * step.depth
    name = one_line(step.name, 60)
    if step.target and step.target not in name:
        name = f"{name} {one_line(step.target, 60)}"
    if times > 1:
        name = f"{name}  x {times}"
    if step.outcome in ("", "ok", "completed"):
        mark, ending = "└" if last else "├", ""
    else:
        mark = paint("✗", "red") if step.outcome == "refused" else "!"
        ending = " ".join(filter(None, (step.outcome, step.check, one_line(step.detail, 100))))
    claimed = "  (the agent says)" if step.origin == "agent" else ""
    text = f"  {indent}{mark} {name}{claimed}"
    gap = " " * max(1, TRACE_TEXT_COLUMN - len(f"  {indent}├ {name}{claimed}"))
    return f"{text}{gap}{took(step.duration_ms):>8}  {ending}".rstrip()


def verdict_lines(verdict: AuditVerdict) -> Iterator[str]:
    """Yield `hive audit verify`."""
    for chain in verdict.chains:
        if chain.ok:
            yield f"audit       {state('ok')}   {chain.entries} entries, chain {chain.chain}, head {chain.head[:16]}"
            continue
        where = f"entry {chain.first_bad}" if chain.first_bad is not None else "the chain"
        yield f"audit       {paint('FAILED', 'red')}   {where} of chain {chain.chain}: {one_line(chain.reason)}"
    if not verdict.chains:
        yield "audit       the ledger is empty"


def entry_line(entry: AuditRecord) -> str:
    """Return one entry of the ledger."""
    body = _refusal(entry.body) or one_line(entry.body, 120)
    agent = entry.agent or "-"
    return (
        f"{entry.sequence:>7}  {_clock(entry.at)}  {entry.kind:<8}  {entry.name:<22}  "
        f"{agent:<16}  {entry.hash[:12]}  {body}"
    )


def _refusal(body: str) -> str:
    """Return why a call was refused, in the words of its check; nothing for other entries."""
    if '"decision":"refused"' not in body:
        return ""
    try:
        found = msgspec.json.decode(body, type=_RefusedBody)
    except msgspec.MsgspecError:
        return ""
    said = one_line(f"{found.reason} {found.detail}".strip(), 160)
    return f"refused by {one_line(found.check)}: {one_line(found.target, 60)}  {said}"


class _RefusedBody(msgspec.Struct, frozen=True):
    """What the intent of a refused call says."""

    target: str = ""
    check: str = ""
    reason: str = ""
    detail: str = ""


def token_rows(tokens: Sequence[TokenSummary]) -> Iterator[str]:
    """Yield `hive token list`."""
    rows = (
        (
            token.id,
            token.owner,
            token.role or "client",
            ", ".join(token.agents) or ("-" if token.role else "all"),
            token.expires_at.date().isoformat() if token.expires_at else "never",
            "revoked" if token.revoked else "valid",
        )
        for token in tokens
    )
    return table(("ID", "OWNER", "ROLE", "AGENTS", "EXPIRES", "STATE"), rows)


def mebibytes(size_bytes: int) -> str:
    """Return a size as people read it."""
    return f"{size_bytes / (1 << 20):.0f} MiB" if size_bytes else "-"


def _listed(label: str, lines: Sequence[str], empty: str) -> Iterator[str]:
    for index, line in enumerate(lines or [empty]):
        yield fact(label if index == 0 else "", one_line(line))


def _clock(at: datetime) -> str:
    return at.astimezone().strftime("%H:%M:%S")
