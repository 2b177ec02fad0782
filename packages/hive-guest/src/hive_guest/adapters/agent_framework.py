"""An agent or workflow of the Microsoft Agent Framework: `run` as a stream, the conversation as input."""

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
    """Wrap an agent, or a workflow as an agent."""
    message = import_module("agent_framework").Message
    if hasattr(agent, "as_agent") and hasattr(agent, "get_executors_list"):
        agent = agent.as_agent()

    async def run(turn: GuestTurn) -> AsyncIterator[Any]:
        said = [
            message("user" if role == "user" else "assistant", [text])
            for role, text in (*turn.past(), ("user", turn.text))
        ]
        updates = agent.run(said, stream=True)
        async for update in updates:
            yield update.text
        answer = await updates.get_final_response()
        value = getattr(answer, "value", None)
        yield Answer(answer.text if value is None else value)

    return Loaded("agent-framework", run, streams=True, waits=True)
