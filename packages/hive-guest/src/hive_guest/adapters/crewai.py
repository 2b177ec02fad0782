"""A crew, flow or single agent of CrewAI: `kickoff`, on the main thread, where no loop runs.

The text of the message fills every `{placeholder}` of the crew; a data part gives them by name.
"""

from __future__ import annotations

from hive_guest.adapters.naming import likely_input
from hive_guest.shapes import Answer, Loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from hive_guest.api import GuestTurn
    from hive_guest.shapes import Foreign


def load(agent: Foreign) -> Loaded:
    """Wrap a crew, a flow or an agent."""
    kinds = {kind.__name__ for kind in type(agent).__mro__}
    # Asked once: the first kickoff fills the placeholders, and none is found after it.
    placeholders = agent.fetch_inputs() if "Crew" in kinds else ()
    conversational = not kinds & {"Crew", "Flow"}

    def run(turn: GuestTurn) -> Iterator[Any]:
        if conversational:
            result = agent.kickoff(_messages(turn))
        elif "Crew" in kinds:
            result = agent.kickoff(inputs=_crew_inputs(placeholders, turn))
        else:
            # A flow keeps its state between calls, so each turn gets a fresh one.
            result = type(agent)().kickoff(inputs=_flow_inputs(agent, turn))
        if hasattr(result, "is_completed") and hasattr(result, "__iter__"):
            for chunk in result:
                yield chunk.content
            result = result.result
        yield Answer(_answer(result))

    return Loaded("crewai", run, streams=bool(getattr(agent, "stream", False)), waits=False)


def _messages(turn: GuestTurn) -> list[dict[str, str]]:
    return [
        {"role": "user" if role == "user" else "assistant", "content": text}
        for role, text in (*turn.past(), ("user", turn.text))
    ]


def _crew_inputs(placeholders: Iterable[str], turn: GuestTurn) -> dict[str, Any]:
    named = turn.data if isinstance(turn.data, dict) else {}
    return dict.fromkeys(placeholders, turn.text) | named


def _flow_inputs(flow: Foreign, turn: GuestTurn) -> dict[str, Any]:
    if isinstance(turn.data, dict):
        return turn.data
    fields = [name for name in getattr(type(flow.state), "model_fields", ()) if name != "id"]
    return {likely_input(fields): turn.text}


def _answer(result: Foreign) -> Foreign:
    for name in ("pydantic", "json_dict"):
        if getattr(result, name, None) is not None:
            return getattr(result, name)
    return result.raw if hasattr(result, "raw") else result
