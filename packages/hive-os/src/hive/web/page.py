"""The live page at `/`: agents, tasks, walls and engines, rendered here and refreshed each second.

Whatever an agent or a caller wrote is hostile text: it passes `escape` and nothing else writes it. The
page loads nothing from elsewhere, and its policy lets nothing else run.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from hive.core.ids import plain_text
from hive.web.values import AgentStatus, NodeStatus, TaskSummary

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
TEXT_MAX_CHARS: Final = 200
_HEAD: Final = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Hive</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<link rel="stylesheet" href="/assets/page.css">'
)


def whole_page(sections: str) -> str:
    """Return the page around its sections."""
    return (
        f'{_HEAD}<script src="/assets/page.js" defer></script></head><body>'
        '<p class="quiet" id="connection" role="status">shown once; the script refreshes it</p>'
        f"<main>{sections}</main>"
        "</body></html>"
    )


def login_page(problem: str = "") -> str:
    """Return the form that asks for the operator's token."""
    note = f'<p class="bad" role="alert">{_text(problem)}</p>' if problem else ""
    return (
        f"{_HEAD}</head><body><main><header><h1>Hive</h1></header>"
        f'{note}<form method="post" action="/login">'
        '<label for="token">The operator\'s token</label>'
        '<input id="token" name="token" type="password" autocomplete="off" required autofocus>'
        '<button type="submit">Open</button></form>'
        '<p class="quiet">Its file is named by <code>hive status</code>; '
        "<code>hive status --link</code> prints a link that needs no token.</p>"
        "</main></body></html>"
    )


def live_sections(
    status: NodeStatus, agents: Sequence[AgentStatus], tasks: Sequence[TaskSummary]
) -> str:
    """Return the sections that change."""
    return "".join(
        (
            _node_section(status),
            _agent_section(agents),
            _task_section(tasks),
            _wall_section(status),
            _engine_section(status),
        )
    )


def _node_section(status: NodeStatus) -> str:
    doors = ", ".join(name for name, is_open in sorted(status.doors.items()) if is_open)
    weak = "".join(f'<p class="bad">degraded: {_text(line)}</p>' for line in status.degraded)
    return (
        f'<section id="node"><header><h1>Hive {_text(status.version)}</h1>'
        f"<p>{_text(status.address)} · {_text(status.mode)} · node {_text(status.node_id)}</p>"
        f"<p>doors open: {_text(doors or 'none yet')} · {status.ledger_entries} ledger entries since the start · "
        f"{status.tasks_open} open tasks · {_mebibytes(status.memory_bytes)}</p>{weak}"
        "</header></section>"
    )


def _agent_section(agents: Sequence[AgentStatus]) -> str:
    rows = (
        (
            _cell(agent.name),
            _state_cell(agent.state, good=agent.state == "ready", bad=agent.state == "broken"),
            _cell(agent.tier),
            _wall_cell(agent),
            _number_cell(f"{agent.turns_running} + {agent.turns_waiting}"),
            _number_cell(_mebibytes(agent.memory_bytes)),
            _long_cell(agent.reason or agent.description),
        )
        for agent in agents
    )
    heads = ("Agent", "State", "Tier", "Walls", "Running + waiting", "Memory", "About")
    return _section("agents", "Agents", heads, rows, "No agent yet: hive run ./my_agent.py:agent")


def _task_section(tasks: Sequence[TaskSummary]) -> str:
    rows = (
        (
            _number_cell(task.updated_at.strftime("%H:%M:%S")),
            _cell(task.agent),
            _state_cell(task.state, good=task.state == "completed", bad=task.state == "failed"),
            _cell(task.caller),
            _long_cell(task.asked),
            _long_cell(task.answer),
        )
        for task in tasks
    )
    heads = ("Changed (UTC)", "Agent", "State", "Caller", "Asked", "Answer")
    return _section("tasks", "Tasks", heads, rows, "No task yet.")


def _wall_section(status: NodeStatus) -> str:
    rows = (
        (
            _cell(wall.name),
            _state_cell(
                "stands" if wall.stands else "missing", good=wall.stands, bad=not wall.stands
            ),
            _long_cell(wall.detail),
        )
        for wall in status.walls
    )
    return _section(
        "walls", "Walls", ("Wall", "State", "How it was found"), rows, "Not probed yet."
    )


def _engine_section(status: NodeStatus) -> str:
    rows = (
        (
            _cell(engine.port),
            _cell(f"{engine.engine} {engine.version}" + (" (embedded)" * engine.embedded)),
            _state_cell(engine.state, good=engine.state == "ok", bad=engine.state == "failed"),
            _long_cell(engine.detail),
        )
        for engine in status.engines
    )
    return _section("engines", "Engines", ("For", "Engine", "State", "Detail"), rows, "Starting.")


def _section(
    name: str, title: str, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]], empty: str
) -> str:
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    if not body:
        return (
            f'<section id="{name}"><h2>{title}</h2><p class="quiet">{escape(empty)}</p></section>'
        )
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    return (
        f'<section id="{name}"><h2>{title}</h2><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></section>"
    )


def _cell(text: str) -> str:
    return f"<td>{_text(text)}</td>"


def _long_cell(text: str) -> str:
    return f'<td class="text">{_text(text)}</td>'


def _number_cell(text: str) -> str:
    return f'<td class="number">{_text(text)}</td>'


def _state_cell(text: str, *, good: bool, bad: bool) -> str:
    kind = "good" if good else "bad" if bad else "quiet"
    return f'<td class="state {kind}">{_text(text.replace("_", " "))}</td>'


def _wall_cell(agent: AgentStatus) -> str:
    """Return one word where all walls stand, and else the names of those that do not."""
    missing = [wall.name for wall in agent.walls if not wall.stands]
    if missing:
        return f'<td class="bad">missing: {_text(", ".join(missing))}</td>'
    return _cell(f"all {len(agent.walls)} stand" if agent.walls else "-")


def _text(text: str) -> str:
    short = text if len(text) <= TEXT_MAX_CHARS else text[: TEXT_MAX_CHARS - 1] + "…"
    return escape(plain_text(short), quote=True)


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.0f} MiB" if size_bytes else "-"
