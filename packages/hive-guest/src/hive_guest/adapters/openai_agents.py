"""An agent of the OpenAI Agents SDK: `Runner.run_streamed`, the conversation as its input."""

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
    runner = import_module("agents").Runner

    async def run(turn: GuestTurn) -> AsyncIterator[Any]:
        said = [
            {"role": "user" if role == "user" else "assistant", "content": text}
            for role, text in (*turn.past(), ("user", turn.text))
        ]
        result = runner.run_streamed(agent, said)
        async for event in result.stream_events():
            if event.type != "raw_response_event":
                continue
            if event.data.type == "response.output_text.delta":
                yield event.data.delta
        yield Answer(result.final_output)

    return Loaded("openai-agents", run, streams=True, waits=True)
