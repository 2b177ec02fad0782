"""An agent of Pydantic AI: its event stream, which runs every tool call to the end.

`run_stream` would be shorter, but takes the first text of a model for the answer, even one that comes
before a tool call.
"""

from __future__ import annotations

from importlib import import_module

from hive_guest.shapes import Answer, Loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from hive_guest.api import GuestTurn
    from hive_guest.shapes import Foreign


def load(agent: Foreign) -> Loaded:
    """Wrap an agent."""

    async def run(turn: GuestTurn) -> AsyncIterator[Any]:
        async with agent.run_stream_events(turn.text, message_history=_history(turn)) as events:
            async for event in events:
                kind = getattr(event, "event_kind", "")
                if kind == "agent_run_result":
                    yield Answer(event.result.output)
                elif kind == "part_start" and event.part.part_kind == "text":
                    yield event.part.content
                elif kind == "part_delta" and event.delta.part_delta_kind == "text":
                    yield event.delta.content_delta

    return Loaded("pydantic-ai", run, streams=True, waits=True)


def _history(turn: GuestTurn) -> list[Any]:
    past = turn.past()
    if not past:
        return []
    messages = import_module("pydantic_ai.messages")
    return [
        messages.ModelRequest(parts=[messages.UserPromptPart(content=text)])
        if role == "user"
        else messages.ModelResponse(parts=[messages.TextPart(content=text)])
        for role, text in past
    ]
