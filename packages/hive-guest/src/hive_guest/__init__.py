"""What runs beside an agent inside a sandbox; standard library only.

An agent needs to know nothing of it. One that wants more than text in and text out imports it:

    turn()          which task, context and message this is
    ask_input(text) end the turn with a question; the answer is the next message of the task
    artifact(value) hand out a file, text or data
    log(text)       write to the agent's log
    call(agent, text), agents()   ask other agents, find them
    hive_guest.tools: use(name, ...), tools()   call tools, find them
    hive_guest.values: get, put, forget, keys, need   keep values by name; begin again with stronger walls
    part(...)       one piece of an answer that is not plain text
"""

from hive_guest.api import (
    AgentCallError,
    GuestTurn,
    NeedInput,
    agents,
    artifact,
    ask_input,
    call,
    log,
    part,
    turn,
)

__all__ = [
    "AgentCallError",
    "GuestTurn",
    "NeedInput",
    "agents",
    "artifact",
    "ask_input",
    "call",
    "log",
    "part",
    "turn",
]
