"""An agent's skills as MCP has them: tools by name, examples as prompts.

A skill's id may be anything; a tool's name is letters, digits, `_` and `-`, at most 64 of them. A name that
had to be changed ends in a piece of its id's hash, so that it is the same after every start.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hive.core.ids import plain_text
from hive.core.json import Json
from hive.core.spec import AgentSkill
from hive.kernel.ports import AgentView
from hive.protocols.mcp.ports import McpObject

ASK: Final = "ask"
LOOK: Final = "get_task"
RESERVED: Final = frozenset({ASK, LOOK})
NAME_MAX_CHARS: Final = 64
SKILLS_MAX: Final = 200
EXAMPLES_MAX: Final = 8
DESCRIPTION_MAX_CHARS: Final = 4000
_STATES: Final[list[Json]] = [
    "submitted",
    "working",
    "input_required",
    "auth_required",
    "completed",
    "failed",
    "canceled",
    "rejected",
]
OUTPUT_SCHEMA: Final[McpObject] = {
    "type": "object",
    "properties": {
        "task_id": {"type": "string", "description": "The task that the message began."},
        "context_id": {"type": "string", "description": "The conversation that it belongs to."},
        "state": {"type": "string", "enum": _STATES},
        "data": {"type": "array", "description": "What the agent answered as data."},
    },
    "required": ["task_id", "context_id", "state"],
}
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillTool:
    """One tool of an agent; `skill` is empty for the agent as a whole."""

    name: str
    skill: str
    title: str
    description: str
    examples: tuple[str, ...] = ()

    def listed(self) -> McpObject:
        """Write it as `tools/list` has it."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self._words(),
            "inputSchema": input_schema(),
            "outputSchema": OUTPUT_SCHEMA,
            # What an agent does with a message nobody can promise.
            "annotations": {"title": self.title, "openWorldHint": True},
        }

    def _words(self) -> str:
        lines = [self.description]
        if self.examples:
            lines += ["", "Examples:", *(f"- {one}" for one in self.examples)]
        return "\n".join(lines)[:DESCRIPTION_MAX_CHARS]


def tools_of(view: AgentView) -> dict[str, SkillTool]:
    """Return the tools of a hosted agent, by name: `ask`, then one for each skill."""
    return tools_for(view.spec.name, view.spec.description, _skills(view))


def tools_for(name: str, about: str, skills: Sequence[AgentSkill]) -> dict[str, SkillTool]:
    """Return the tools of an agent, hosted here or elsewhere."""
    about = plain_text(about, keep="\n") or f"The agent {name}."
    whole = SkillTool(
        name=ASK,
        skill="",
        title=f"Ask {name}",
        description=f"Send a message to the agent {name} and get its answer. {about}",
    )
    found = {ASK: whole}
    for skill in skills[:SKILLS_MAX]:
        tool = tool_name(skill.id)
        if tool in found:
            tool = _with_hash(tool, skill.id)
        found[tool] = SkillTool(
            name=tool,
            skill=skill.id,
            title=plain_text(skill.name) or skill.id,
            description=plain_text(skill.description, keep="\n") or plain_text(skill.name),
            examples=tuple(plain_text(one, keep="\n") for one in skill.examples[:EXAMPLES_MAX]),
        )
    return found


def tool_name(text: str) -> str:
    """Return a name for a tool that every client accepts; the same text gives the same name."""
    plain = _UNFIT.sub("_", text).strip("_")
    if plain == text and 0 < len(plain) <= NAME_MAX_CHARS and plain not in RESERVED:
        return plain
    return _with_hash(plain or "skill", text)


def prompts_of(tools: Mapping[str, SkillTool]) -> dict[str, tuple[SkillTool, str]]:
    """Return the examples of all skills as prompts, by name."""
    return {
        f"{tool.name}-{number}": (tool, example)
        for tool in tools.values()
        for number, example in enumerate(tool.examples, 1)
    }


def input_schema() -> McpObject:
    """Return what a tool of an agent takes."""
    return {
        "type": "object",
        "properties": {
            "message": {"type": "string", "description": "What to say, in plain words."},
            "data": {"type": "object", "description": "Structured input that goes along."},
            "context_id": {
                "type": "string",
                "description": "Go on with this conversation: the context_id of an earlier answer.",
            },
            "task_id": {
                "type": "string",
                "description": "Answer this task, which asked for input.",
            },
        },
        "required": ["message"],
        "additionalProperties": False,
    }


def look_tool() -> McpObject:
    """Write the tool that says how a task stands, for clients that know no handles."""
    return {
        "name": LOOK,
        "title": "Look at a task",
        "description": "Tell how a task of this agent stands, with its answer if there is one.",
        "inputSchema": {
            "type": "object",
            "properties": {"task_id": {"type": "string"}},
            "required": ["task_id"],
            "additionalProperties": False,
        },
        "outputSchema": OUTPUT_SCHEMA,
        "annotations": {"title": "Look at a task", "readOnlyHint": True, "openWorldHint": False},
    }


def _skills(view: AgentView) -> Sequence[AgentSkill]:
    if view.spec.skills or view.description is None:
        return view.spec.skills
    found = []
    for raw in view.description.skills:
        examples = raw.get("examples")
        found.append(
            AgentSkill(
                id=str(raw.get("id") or ""),
                name=str(raw.get("name") or ""),
                description=str(raw.get("description") or ""),
                examples=tuple(map(str, examples)) if isinstance(examples, list) else (),
            )
        )
    return [skill for skill in found if skill.id]


def _with_hash(name: str, text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{name[: NAME_MAX_CHARS - len(digest) - 1]}_{digest}"
