"""Where everything of the door lies, and which agent a path names."""

from typing import Final

from hive.core.errors import InvalidIdError
from hive.core.ids import AgentId, agent_id
from hive.protocols.a2a.card import NODE
from hive_a2a.faults import NO_SUCH_AGENT, WireFault

PREFIX: Final = "/a2a"
WELL_KNOWN: Final = "/.well-known/agent-card.json"
HANDSHAKE_PATH: Final = "/.well-known/a2a-noise"
KEY_SET_PATH: Final = "/.well-known/jwks.json"
AT_THE_ROOT: Final = (WELL_KNOWN, HANDSHAKE_PATH, KEY_SET_PATH)
AGENT_KEY: Final = "hive.agent"
"""Where a scope holds which agent is meant."""

REST_KEY: Final = "hive.rest"
"""Where a scope holds what is left of the path after the agent's name."""


def split_path(path: str) -> tuple[AgentId, str]:
    """Return which agent a path names, and what follows.

    Raises:
        WireFault: it names none that could be here (404).

    """
    if path in AT_THE_ROOT:
        return NODE, path
    if path.rstrip("/") == PREFIX:
        return NODE, ""
    if not path.startswith(PREFIX + "/"):
        raise WireFault(NO_SUCH_AGENT, "No such page.")
    name, slash, rest = path.removeprefix(PREFIX + "/").partition("/")
    try:
        return agent_id(name), slash + rest if rest else ""
    except InvalidIdError:
        raise WireFault(NO_SUCH_AGENT, "No such agent.") from None
