"""A graph of LangGraph: `astream`, with the context as its thread where it keeps checkpoints."""

from __future__ import annotations

from importlib import import_module

from hive_guest.adapters.naming import likely_input, likely_output
from hive_guest.parts import text_of_content
from hive_guest.shapes import Answer, Loaded, Question

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from hive_guest.api import GuestTurn
    from hive_guest.shapes import Foreign


def load(graph: Foreign) -> Loaded:
    """Wrap a compiled graph, or compile one that is not yet."""
    if not hasattr(graph, "astream"):
        graph = graph.compile()

    async def run(turn: GuestTurn) -> AsyncIterator[Any]:
        config = {"configurable": {"thread_id": turn.context_id}}
        given = await _input(graph, turn, config)
        last: Any = {}
        async for mode, piece in graph.astream(given, config, stream_mode=["messages", "values"]):
            if mode == "values":
                last = piece
            elif piece[0].type in ("ai", "AIMessageChunk"):
                yield text_of_content(piece[0].content)
        interrupts = last.get("__interrupt__") if isinstance(last, dict) else None
        if interrupts:
            yield Question(_question(interrupts[0].value))
        else:
            yield Answer(_answer(last))

    return Loaded("langgraph", run, streams=True, waits=True)


async def _input(graph: Foreign, turn: GuestTurn, config: dict[str, Any]) -> Foreign:
    remembers = graph.checkpointer not in (None, False)
    state = await graph.aget_state(config) if remembers else None
    if state is not None and state.next and any(task.interrupts for task in state.tasks):
        return import_module("langgraph.types").Command(resume=turn.text)
    if "messages" in graph.channels:
        told = [] if state is not None and state.values else turn.past()
        past = [("user" if role == "user" else "assistant", text) for role, text in told]
        return {"messages": [*past, ("user", turn.text)]}
    data = turn.data
    return data if data is not None else {likely_input(_fields(graph)): turn.text}


def _fields(graph: Foreign) -> list[str]:
    builder = getattr(graph, "builder", None)
    schema = getattr(builder, "input_schema", None) or getattr(builder, "state_schema", None)
    return list(getattr(schema, "__annotations__", ()))


def _answer(values: Foreign) -> Foreign:
    if isinstance(values, dict) and values.get("messages"):
        return text_of_content(values["messages"][-1].content)
    return likely_output(values)


def _question(value: Foreign) -> Foreign:
    if isinstance(value, dict):
        for name in ("question", "message", "query", "prompt"):
            if isinstance(value.get(name), str):
                return value[name]
    return value
