"""Messages between agents, on the one way that all of them take: marked, cleaned, counted once, redacted.

A person's message is passed on as it is. What an agent sends, here or on another node, gets the node's marks: what is
asked and what is only data (`hive.security.guardrails.separated`).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hive.core.call import Call, Integrity, PrincipalKind, Refused
from hive.core.json import Json
from hive.core.task import Message, Part
from hive.kernel.ports import Attempt
from hive.security.guardrails import redact, separate, without_marks

MESSAGE: Final = "message"
FROM_KIND: Final = "from_kind"
SPOKEN_BY: Final = "spoken_by"
_OWN: Final = frozenset({Integrity.SYSTEM, Integrity.USER})


def speaker(call: Call) -> str:
    """Return whose words a call brings, as a kind of principal: a node, and who forks a run, speak for others."""
    return str(call.facts.get(SPOKEN_BY) or call.facts.get(FROM_KIND) or call.principal.kind)


def noted(attempt: Attempt, message: Message) -> Attempt:
    """Return an attempt that names the message of an agent: the gate takes its id once."""
    if not _of_agent(attempt):
        return attempt
    return replace(attempt, facts={**attempt.facts, MESSAGE: message.id})


def regulated(attempt: Attempt, call: Call, message: Message) -> Message | Refused:
    """Return a message as its receiver gets it, or why it is not passed on."""
    if not _of_agent(attempt):
        return without_marks(message)
    here = call.principal.kind is PrincipalKind.AGENT
    trusted = here and bool(call.labels) and all(one.integrity in _OWN for one in call.labels)
    found = separate(message, sender=str(call.principal), trusted=trusted)
    return found if isinstance(found, Refused) else found.message


def redacted(message: Message, kinds: frozenset[str]) -> Message:
    """Return a message without what is of these kinds."""
    if not kinds:
        return message
    return replace(message, parts=tuple(_part(part, kinds) for part in message.parts))


def _part(part: Part, kinds: frozenset[str]) -> Part:
    text = None if part.text is None else str(redact(part.text, kinds)[0])
    data = redact(part.data, kinds)[0] if part.has_data else part.data
    return replace(part, text=text, data=data, metadata=_object(part.metadata, kinds))


def _object(metadata: Mapping[str, Json], kinds: frozenset[str]) -> dict[str, Json]:
    found, _ = redact(dict(metadata), kinds)
    return found if isinstance(found, dict) else {}


def _of_agent(attempt: Attempt) -> bool:
    """Tell whether an agent speaks: one of this node, or one that another node speaks for."""
    return (
        attempt.principal.is_workload or attempt.facts.get(FROM_KIND) == PrincipalKind.AGENT.value
    )
