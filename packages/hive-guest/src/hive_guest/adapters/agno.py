"""An agent, team or workflow of Agno: `arun` as a stream, the context as its session."""

from __future__ import annotations

from importlib import import_module

from hive_guest.shapes import Answer, Loaded, Question

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from hive_guest.api import GuestTurn
    from hive_guest.shapes import Foreign


def load(agent: Foreign) -> Loaded:
    """Wrap an agent, a team or a workflow."""
    is_workflow = any(kind.__name__ == "Workflow" for kind in type(agent).__mro__)
    prefix = "" if is_workflow else "Team" if _is_team(agent) else ""

    async def run(turn: GuestTurn) -> AsyncIterator[Any]:
        given = turn.text if is_workflow or agent.db is not None else _messages(turn)
        async for event in agent.arun(given, stream=True, session_id=turn.context_id):
            kind = getattr(event, "event", "")
            if kind == prefix + "RunContent" and isinstance(event.content, str):
                yield event.content
            elif kind in (prefix + "RunCompleted", "WorkflowCompleted"):
                yield Answer(event.content)
            elif kind in (prefix + "RunError", "WorkflowError"):
                raise RuntimeError(str(getattr(event, "content", None) or event.error))
            elif kind == prefix + "RunPaused":
                yield Question(_question(event))

    return Loaded("agno", run, streams=True, waits=True)


def _is_team(agent: Foreign) -> bool:
    return any(kind.__name__ == "Team" for kind in type(agent).__mro__)


def _messages(turn: GuestTurn) -> Foreign:
    past = turn.past()
    if not past:
        return turn.text
    message = import_module("agno.models.message").Message
    return [
        message(role="user" if role == "user" else "assistant", content=text)
        for role, text in (*past, ("user", turn.text))
    ]


def _question(event: Foreign) -> str:
    asked = [
        f"{tool.tool_name} with {tool.tool_args}" for tool in (getattr(event, "tools", None) or ())
    ]
    return f"The agent waits for a decision: {', '.join(asked) or event.content or 'no detail'}"
