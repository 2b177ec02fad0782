"""One small adapter for each framework, and the table that finds the one that fits.

An adapter module has `load(agent)`, which returns what the turn loop runs. Only the module that fits
is imported; a framework is recognised by where its classes were defined, never by importing it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from hive_guest.shapes import Foreign

TABLE: Final = (
    # module of a class, names of the classes, attribute that must be there, adapter
    ("langgraph.", ("Pregel", "StateGraph", "MessageGraph"), "", "langgraph"),
    ("pydantic_ai.", ("AbstractAgent", "Agent"), "run", "pydantic_ai"),
    ("agents.", ("Agent",), "handoffs", "openai_agents"),
    ("google.adk.", ("BaseAgent", "App", "BaseNode"), "name", "google_adk"),
    ("crewai.", ("Crew", "Agent", "BaseAgent", "LiteAgent", "Flow"), "kickoff", "crewai"),
    ("agno.", ("Agent", "Team", "Workflow"), "arun", "agno"),
    ("agent_framework.", (), "run", "agent_framework"),
    ("strands.", ("Agent", "AgentBase", "MultiAgentBase"), "stream_async", "strands"),
    ("autogen_agentchat.", (), "run_stream", "autogen"),
)
FRAMEWORKS: Final = frozenset(row[3] for row in TABLE)
METHODS: Final = ("run", "invoke", "__call__")


def adapter_of(agent: Foreign) -> str | None:
    """Return the name of the adapter that fits an object, or None."""
    if not isinstance(agent, type):
        for kind in type(agent).__mro__:
            module = f"{kind.__module__}."
            for prefix, names, attribute, adapter in TABLE:
                if (
                    module.startswith(prefix)
                    and (not names or kind.__name__ in names)
                    and (not attribute or hasattr(agent, attribute))
                ):
                    return adapter
        if any(callable(getattr(agent, method, None)) for method in METHODS):
            return "plain"
    return None
