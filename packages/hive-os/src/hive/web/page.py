"""The live page at `/`: agents, tasks, walls and engines, rendered here and refreshed each second.

Whatever an agent or a caller wrote is hostile text: it passes `escape` and nothing else writes it. The
page loads nothing from elsewhere, and its policy lets nothing else run.
"""

from collections.abc import Sequence
from typing import Final

from hive.web.approvals import ApprovalLine
from hive.web.markup import cell, long_cell, mebibytes, number_cell, section, shown, state_cell
from hive.web.page_approvals import approval_sections
from hive.web.page_spend import spend_sections
from hive.web.page_tools import tool_sections
from hive.web.spend import LiveSpend
from hive.web.tools import LiveTools
from hive.web.values import AgentStatus, NodeStatus, TaskSummary

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
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
    note = f'<p class="bad" role="alert">{shown(problem)}</p>' if problem else ""
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
    status: NodeStatus,
    agents: Sequence[AgentStatus],
    tasks: Sequence[TaskSummary],
    spend: LiveSpend | None = None,
    tools: LiveTools | None = None,
    approvals: Sequence[ApprovalLine] = (),
) -> str:
    """Return the sections that change."""
    return "".join(
        (
            _node_section(status),
            approval_sections(approvals),
            "" if spend is None else spend_sections(spend),
            _agent_section(agents),
            "" if tools is None else tool_sections(tools),
            _task_section(tasks),
            _wall_section(status),
            _engine_section(status),
        )
    )


def _node_section(status: NodeStatus) -> str:
    doors = ", ".join(name for name, is_open in sorted(status.doors.items()) if is_open)
    weak = "".join(f'<p class="bad">degraded: {shown(line)}</p>' for line in status.degraded)
    return (
        f'<section id="node"><header><h1>Hive {shown(status.version)}</h1>'
        f"<p>{shown(status.address)} · {shown(status.mode)} · node {shown(status.node_id)}</p>"
        f"<p>doors open: {shown(doors or 'none yet')} · {status.ledger_entries} ledger entries since the start · "
        f"{status.tasks_open} open tasks · {mebibytes(status.memory_bytes)}</p>{weak}"
        "</header></section>"
    )


def _agent_section(agents: Sequence[AgentStatus]) -> str:
    rows = (
        (
            cell(agent.name),
            state_cell(agent.state, good=agent.state == "ready", bad=agent.state == "broken"),
            cell(agent.tier),
            _wall_cell(agent),
            number_cell(f"{agent.turns_running} + {agent.turns_waiting}"),
            number_cell(mebibytes(agent.memory_bytes)),
            long_cell(agent.reason or agent.description),
        )
        for agent in agents
    )
    heads = ("Agent", "State", "Tier", "Walls", "Running + waiting", "Memory", "About")
    return section("agents", "Agents", heads, rows, "No agent yet: hive run ./my_agent.py:agent")


def _task_section(tasks: Sequence[TaskSummary]) -> str:
    rows = (
        (
            number_cell(task.updated_at.strftime("%H:%M:%S")),
            cell(task.agent),
            state_cell(task.state, good=task.state == "completed", bad=task.state == "failed"),
            cell(task.caller),
            long_cell(task.asked),
            long_cell(task.answer),
        )
        for task in tasks
    )
    heads = ("Changed (UTC)", "Agent", "State", "Caller", "Asked", "Answer")
    return section("tasks", "Tasks", heads, rows, "No task yet.")


def _wall_section(status: NodeStatus) -> str:
    rows = (
        (
            cell(wall.name),
            state_cell(
                "stands" if wall.stands else "missing", good=wall.stands, bad=not wall.stands
            ),
            long_cell(wall.detail),
        )
        for wall in status.walls
    )
    return section("walls", "Walls", ("Wall", "State", "How it was found"), rows, "Not probed yet.")


def _engine_section(status: NodeStatus) -> str:
    rows = (
        (
            cell(engine.port),
            cell(f"{engine.engine} {engine.version}" + (" (embedded)" * engine.embedded)),
            state_cell(engine.state, good=engine.state == "ok", bad=engine.state == "failed"),
            long_cell(engine.detail),
        )
        for engine in status.engines
    )
    return section("engines", "Engines", ("For", "Engine", "State", "Detail"), rows, "Starting.")


def _wall_cell(agent: AgentStatus) -> str:
    """Return one word where all walls stand, and else the names of those that do not."""
    missing = [wall.name for wall in agent.walls if not wall.stands]
    if missing:
        return f'<td class="bad">missing: {shown(", ".join(missing))}</td>'
    return cell(f"all {len(agent.walls)} stand" if agent.walls else "-")
