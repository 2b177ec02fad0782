"""The subjects of the bus, built and read here and nowhere else.

A name that could widen or shift a subject (a wildcard, a dot, a space, nothing at all) is refused, so a
publisher never reaches more than the one place it names.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hive.core.errors import InvalidIdError
from hive.core.ids import AgentId, agent_id, name, printable

TASK_WORKERS: Final = "hive-workers"
"""The queue group of `hive.tasks.*`: each task goes to one node."""


class SubjectKind(StrEnum):
    """What a subject is for."""

    INBOX = "inbox"
    STATUS = "status"
    TASKS = "tasks"
    BROADCAST = "broadcast"
    GROUP = "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A subject taken apart; `name` is the agent, capability or group, empty for a broadcast."""

    kind: SubjectKind
    name: str = ""


def agent_inbox(agent: AgentId) -> str:
    """Return where an agent's messages arrive.

    Raises:
        InvalidIdError: the id is not one name.

    """
    return f"hive.agents.{agent_id(agent)}.inbox"


def agent_status(agent: AgentId) -> str:
    """Return where an agent's status is published.

    Raises:
        InvalidIdError: the id is not one name.

    """
    return f"hive.agents.{agent_id(agent)}.status"


def task_queue(capability: str) -> str:
    """Return where tasks for any agent with a capability arrive.

    Raises:
        InvalidIdError: the capability is not one name.

    """
    return f"hive.tasks.{name(capability, what='capability')}"


def broadcast() -> str:
    """Return where everybody listens."""
    return "hive.broadcast"


def group_events(group: str) -> str:
    """Return where a group's events are published.

    Raises:
        InvalidIdError: the group is not one name.

    """
    return f"hive.groups.{name(group, what='group')}.events"


def parse_subject(text: str) -> Subject:
    """Take a subject apart.

    Raises:
        InvalidIdError: it is none of Hive's.

    """
    match text.split("."):
        case ["hive", "agents", agent, "inbox"]:
            return Subject(kind=SubjectKind.INBOX, name=agent_id(agent))
        case ["hive", "agents", agent, "status"]:
            return Subject(kind=SubjectKind.STATUS, name=agent_id(agent))
        case ["hive", "tasks", capability]:
            return Subject(kind=SubjectKind.TASKS, name=name(capability, what="capability"))
        case ["hive", "broadcast"]:
            return Subject(kind=SubjectKind.BROADCAST)
        case ["hive", "groups", group, "events"]:
            return Subject(kind=SubjectKind.GROUP, name=name(group, what="group"))
        case _:
            raise InvalidIdError(
                f"{printable(text)} is not a subject of Hive.",
                why="Subjects are hive.agents.*, hive.tasks.*, hive.broadcast and hive.groups.*.",
                fix="Build it with hive.mesh.subjects.",
            )
