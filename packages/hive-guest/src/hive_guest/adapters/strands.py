"""An agent, swarm or graph of Strands: `stream_async`.

An agent of Strands remembers all that was ever said to it, so each turn begins with the conversation of
its own context instead.
"""

from __future__ import annotations

from hive_guest.shapes import Answer, Loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from hive_guest.api import GuestTurn
    from hive_guest.shapes import Foreign


def load(agent: Foreign) -> Loaded:
    """Wrap an agent, a swarm or a graph."""
    is_agent = hasattr(agent, "messages")

    async def run(turn: GuestTurn) -> AsyncIterator[Any]:
        if is_agent and getattr(agent, "_session_manager", None) is None:
            agent.messages[:] = [
                {"role": "user" if role == "user" else "assistant", "content": [{"text": text}]}
                for role, text in turn.past()
            ]
        async for event in agent.stream_async(turn.text):
            if isinstance(event.get("data"), str):
                yield event["data"]
            if event.get("result") is not None:
                yield Answer(_answer(event["result"]))

    return Loaded("strands", run, streams=is_agent, waits=True)


def _answer(result: Foreign) -> Foreign:
    structured = getattr(result, "structured_output", None)
    if structured is not None:
        return structured
    nodes = getattr(result, "results", None)
    if isinstance(nodes, dict) and nodes:
        return str(list(nodes.values())[-1].result).strip()
    return str(result).strip()
