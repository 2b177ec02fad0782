"""Servers and tools of the hub as an operator reads them."""

from collections.abc import Mapping, Sequence
from typing import Final

from hive.core.ids import plain_text
from hive.core.json import Json
from hive.execution.confirm import grant_lines
from hive.node.tool_orders import place_of
from hive.protocols.mcp.ports import PinnedTool, ServerState, ServerView
from hive.web.tools import ToolLine, ToolReport, ToolServerLine, ToolServerReport, ToolUser
from hive.web.values import Finding

DESCRIPTION_MAX_CHARS: Final = 2000
TOOLS_OF_ONE_MAX: Final = 1000


def server_line(view: ServerView) -> ToolServerLine:
    """Return a server for a list."""
    return ToolServerLine(
        name=view.spec.name,
        transport=view.spec.transport.value,
        state=view.state.value,
        place=place_of(view.spec),
        reason=plain_text(view.reason),
        revision=view.revision,
        version=_text(view.info, "version"),
        tools=view.tools,
        blocked=view.blocked,
        links=view.links,
        sharing=view.spec.sharing.value,
        changed_at=view.changed_at,
    )


def tool_line(tool: PinnedTool) -> ToolLine:
    """Return a tool for a list."""
    raw = tool.definition.raw
    return ToolLine(
        name=tool.definition.full_name,
        server=tool.definition.server,
        pin=tool.state.value,
        effect=tool.effect.value,
        title=_text(raw, "title"),
        description=_text(raw, "description"),
        flags=list(tool.flags),
        usable=tool.usable,
    )


def server_report(view: ServerView, tools: Sequence[PinnedTool]) -> ToolServerReport:
    """Return a server whole."""
    spec = view.spec
    return ToolServerReport(
        line=server_line(view),
        title=_text(view.info, "title") or _text(view.info, "name"),
        instructions=plain_text(view.instructions, keep="\n")[:DESCRIPTION_MAX_CHARS],
        offers=[name for name in sorted(view.capabilities) if view.capabilities[name] is not None],
        grant=grant_lines(spec.grant),
        environment=dict(spec.environment),
        headers=dict(spec.headers),
        oauth=spec.oauth,
        timeout_s=spec.timeout_s,
        result_max_bytes=spec.result_max_bytes,
        tools=[tool_line(one) for one in tools[:TOOLS_OF_ONE_MAX]],
    )


def tool_report(tool: PinnedTool, used: list[ToolUser] | None) -> ToolReport:
    """Return a tool whole."""
    approved = tool.approved
    return ToolReport(
        line=tool_line(tool),
        digest=tool.definition.digest,
        definition=tool.definition.raw,
        approved=None if approved is None else approved.raw,
        approved_digest="" if approved is None else approved.digest,
        approved_by=tool.approved_by,
        seen_at=tool.seen_at,
        used=used,
    )


def finding(view: ServerView) -> Finding:
    """Say how a server stands, and what to do where it does not."""
    name = view.spec.name
    told = f"{view.tools} tools from {place_of(view.spec)}"
    if view.state is ServerState.FAILED:
        fix = f"hive tool logs {name}     and then  hive tool refresh {name}"
        return _weak(name, view.reason or "it does not answer", fix)
    if view.state is ServerState.NEEDS_LOGIN:
        return _weak(name, view.reason or "somebody has to log in", f"hive tool login {name}")
    if view.blocked:
        words = f"{view.blocked} of {view.tools + view.blocked} tools wait for a look"
        return _weak(name, words, f"hive tool list --blocked {name}")
    known = view.state in (ServerState.READY, ServerState.IDLE)
    word = "disabled" if view.state is ServerState.DISABLED else told
    return Finding(section="tools", name=name, state="ok" if known else "info", detail=word)


def _weak(name: str, detail: str, fix: str) -> Finding:
    return Finding(section="tools", name=name, state="degraded", detail=plain_text(detail), fix=fix)


def _text(values: Mapping[str, Json], key: str) -> str:
    found = values.get(key)
    return plain_text(found, keep="\n")[:DESCRIPTION_MAX_CHARS] if isinstance(found, str) else ""
