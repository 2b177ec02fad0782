"""What an agent's card says, from its spec; security, Noise and the words of 0.3 are added by the SDK."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hive.core.ids import AgentId
from hive.core.json import Json
from hive.core.spec import AgentSkill
from hive.kernel.ports import AgentView

MODES: Final[list[Json]] = ["text/plain", "application/json", "application/octet-stream"]
SKILLS_MAX: Final = 200
NODE: Final = AgentId("")
"""The node itself, as an agent: no hosted agent can have the empty name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardWriter:
    """Writes cards. `grpc_address` is empty unless that port is open."""

    public_url: str
    grpc_address: str = ""
    required_extensions: tuple[str, ...] = ()

    def agent(self, view: AgentView) -> dict[str, Json]:
        """Write the card of one agent."""
        spec = view.spec
        return self._card(
            name=spec.name,
            tenant=spec.name,
            description=spec.description or f"The agent {spec.name}.",
            version=spec.version,
            skills=_skills_of(view),
            streaming=True,
        )

    def node(self, views: Sequence[AgentView], *, version: str) -> dict[str, Json]:
        """Write the card of the node: an agent that tells which agents are here."""
        skills: list[Json] = [_directory_skill()]
        for view in views:
            for skill in _skills_of(view):
                tagged = {**skill, "id": f"{view.spec.name}/{skill['id']}"}
                tagged["description"] = f"{skill['description']} (agent {view.spec.name})"
                skills.append(tagged)
        return self._card(
            name="hive",
            tenant=NODE,
            description="A Hive node. Send any message to learn which agents it hosts and where.",
            version=version,
            skills=skills[:SKILLS_MAX],
            streaming=True,
        )

    def _card(
        self,
        *,
        name: str,
        tenant: str,
        description: str,
        version: str,
        skills: Sequence[Json],
        streaming: bool,
    ) -> dict[str, Json]:
        url = self.public_url.rstrip("/") + (f"/a2a/{tenant}" if tenant else "/a2a")
        extensions: list[Json] = [
            {"uri": uri, "required": True} for uri in self.required_extensions
        ]
        capabilities: dict[str, Json] = {
            "streaming": streaming,
            "pushNotifications": True,
            "extendedAgentCard": True,
        }
        if extensions:
            capabilities["extensions"] = extensions
        return {
            "name": name,
            "description": description,
            "version": version,
            "supportedInterfaces": self._interfaces(url, tenant),
            "capabilities": capabilities,
            "defaultInputModes": MODES,
            "defaultOutputModes": MODES,
            "skills": list(skills),
        }

    def _interfaces(self, url: str, tenant: str) -> list[Json]:
        found: list[Json] = [
            {"url": url, "protocolBinding": binding, "protocolVersion": version}
            for version in ("1.0", "0.3")
            for binding in _bindings(tenant)
        ]
        if self.grpc_address:
            # One port serves all agents, so the tenant of the call says which.
            found.insert(
                len(_bindings(tenant)),
                {
                    "url": self.grpc_address,
                    "protocolBinding": "GRPC",
                    "protocolVersion": "1.0",
                    "tenant": tenant,
                },
            )
        return found


def _bindings(tenant: str) -> tuple[str, ...]:
    """Return the HTTP bindings; under the node's own URL the names of HTTP+JSON would be agents."""
    return ("JSONRPC", "HTTP+JSON") if tenant else ("JSONRPC",)


def _skills_of(view: AgentView) -> list[dict[str, Json]]:
    if view.spec.skills:
        return [_skill(skill) for skill in view.spec.skills[:SKILLS_MAX]]
    words = view.spec.description or f"Talk to {view.spec.name}."
    return [_skill(AgentSkill(id=view.spec.name, name=view.spec.name, description=words))]


def _skill(skill: AgentSkill) -> dict[str, Json]:
    wire: dict[str, Json] = {
        "id": skill.id,
        "name": skill.name,
        "description": skill.description or skill.name,
        "tags": list(skill.tags) or ["agent"],
    }
    if skill.examples:
        wire["examples"] = list(skill.examples)
    return wire


def _directory_skill() -> dict[str, Json]:
    return _skill(
        AgentSkill(
            id="directory",
            name="Directory of agents",
            description="Tells which agents this node hosts, and where their cards are.",
            tags=("directory",),
            examples=("Which agents are here?",),
        )
    )
