"""What an operator declares so that Hive can run an agent."""

from dataclasses import dataclass, field
from enum import StrEnum

from hive.core.grant import Grant, Tier
from hive.core.ids import AgentId


class StartKind(StrEnum):
    """How an agent is started and spoken to."""

    PYTHON = "python"
    COMMAND = "command"
    A2A_COMMAND = "a2a-command"
    REMOTE = "remote"
    COMPONENT = "component"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSkill:
    """Something an agent says it can do, on its card (A2A 1.0, 4.4.5)."""

    id: str
    name: str
    description: str
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPoint:
    """Where an agent begins.

    PYTHON: `source` is a folder, `path` a file in it, `attribute` a name in that file.
    COMMAND: `argv`, spoken to by standard input and output. A2A_COMMAND: `argv` that serves A2A on
    the port that its environment names as `PORT`. REMOTE: `url` of an agent card. COMPONENT: `path` is a
    WebAssembly component in the folder `source`.
    """

    kind: StartKind
    source: str = ""
    path: str = ""
    attribute: str = ""
    argv: tuple[str, ...] = ()
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """One agent as declared: what it is, what it asks for. `needs` is a request, never a grant.

    `requirements` are the lines of its own environment (empty: standard library only);
    `python` is its interpreter (empty: the node's own). `environment` holds plain variables;
    a secret never stands here. `tier_min` is the least isolation that it wants. `digest` is the SHA-256 of its source as it was read.
    """

    name: AgentId
    entry: EntryPoint
    description: str = ""
    version: str = "0.0.0"
    needs: Grant = field(default_factory=Grant)
    requirements: tuple[str, ...] = ()
    allow_build: bool = False
    python: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    skills: tuple[AgentSkill, ...] = ()
    public: bool = False
    digest: str = ""
    tier_min: Tier = Tier.WASM
