"""An agent or team of AutoGen: `run_stream`, begun afresh in each turn with the conversation so far."""

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
    """Wrap an agent or a team."""
    message = import_module("autogen_agentchat.messages").TextMessage
    token = import_module("autogen_core").CancellationToken

    async def run(turn: GuestTurn) -> AsyncIterator[Any]:
        if hasattr(agent, "on_reset"):
            await agent.on_reset(token())
        else:
            await agent.reset()
        said = [
            message(content=text, source=role) for role, text in (*turn.past(), ("user", turn.text))
        ]
        async for event in agent.run_stream(task=said, output_task_messages=False):
            if hasattr(event, "stop_reason"):
                yield Answer(_answer(event.messages))
            elif getattr(event, "type", "") == "ModelClientStreamingChunkEvent":
                yield event.content

    return Loaded("autogen", run, streams=_streams(agent), waits=True)


def _streams(agent: Foreign) -> bool:
    # It streams only where its author asked for that; nothing public tells.
    members = [agent, *(getattr(agent, "_participants", None) or ())]
    return any(getattr(member, "_model_client_stream", False) for member in members)


def _answer(messages: Foreign) -> Foreign:
    for message in reversed(messages):
        if getattr(message, "type", "").endswith("Message"):
            content = message.content
            return content if not isinstance(content, list) else message.to_text()
    return None
