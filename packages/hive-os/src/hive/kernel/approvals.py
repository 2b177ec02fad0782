"""Which calls need a person's yes: rules on verb, target, caller, label and arguments; what an approval is.

A yes is bound to who asks (the task, else the caller), verb, target, canonical arguments, the definition of
the tool and the rule that demanded it. Change one of them and it is another question.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from posixpath import normpath
from typing import Final, NewType

from hive.core.call import Call, sha256_hex
from hive.core.errors import BadInputError
from hive.core.ids import AgentId, OwnerId, TaskId
from hive.core.json import Json, decode, encode

ApprovalId = NewType("ApprovalId", str)
RULES_MAX: Final = 200
CONDITIONS_MAX: Final = 10
TEXT_MAX_CHARS: Final = 64 << 10
EXPIRES_S: Final = 3600.0


class Operator(StrEnum):
    """How a condition compares an argument with its value."""

    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    MORE = ">"
    MATCHES = "~"
    EXISTS = "exists"
    UNDER = "under"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition on the arguments: `pointer` is a JSON pointer into them (RFC 6901).

    UNDER compares paths after `..` is resolved. A value that is missing fulfils only UNEQUAL.
    """

    pointer: str
    operator: Operator
    value: bool | int | float | str | None = None

    def __str__(self) -> str:
        value = "" if self.operator is Operator.EXISTS else f" {encode(self.value).decode()}"
        return f"{self.pointer} {self.operator.value}{value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRule:
    """A rule: calls that fit all of it need a yes. Patterns know `*` and `?`; empty texts fit all.

    `hold_s` is how long the call waits on its connection (negative: the node's setting), `expires_s` for how
    long the question and then the yes stand.
    """

    id: str
    verb: str = "invoke"
    target: str = "*"
    agent: str = ""
    owner: str = ""
    label: str = ""
    conditions: tuple[Condition, ...] = ()
    note: str = ""
    hold_s: float = -1.0
    expires_s: float = EXPIRES_S

    @property
    def version(self) -> str:
        """Return the digest of what the rule says: another rule is another question."""
        said: list[Json] = [self.id, self.verb, self.target, self.agent, self.owner, self.label]
        said += [str(one) for one in self.conditions]
        return sha256_hex(encode(said))

    def fits(self, call: Call, arguments: bytes) -> bool:
        """Tell whether a call needs this rule's yes; arguments that cannot be read need it."""
        principal = call.principal
        named = (
            (self.verb, call.verb.value),
            (self.target, call.target),
            (self.agent, principal.agent or ""),
            (self.owner, principal.owner),
        )
        if not all(not pattern or fnmatchcase(name, pattern) for pattern, name in named):
            return False
        if self.label and self.label not in {label.integrity for label in call.labels}:
            return False
        if not self.conditions:
            return True
        try:
            document = decode(arguments)
        except ValueError:
            return True
        return all(_holds(one, document) for one in self.conditions)


class ApprovalState(StrEnum):
    """Where a question stands."""

    WAITING = "waiting"
    ALLOWED = "allowed"
    DENIED = "denied"
    USED = "used"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A call that waits for a person, or what the person said. `content` names the sealed arguments."""

    id: ApprovalId
    key: str
    state: ApprovalState
    rule: str
    note: str
    verb: str
    target: str
    principal: str
    owner: OwnerId
    agent: AgentId | None
    task: TaskId | None
    argument_hash: str
    definition: str
    asked_at: datetime
    expires_at: datetime
    content: str = ""
    decided_by: str = ""
    reason: str = ""
    decided_at: datetime | None = None


@dataclass(slots=True)
class ApprovalRules:
    """The rules of this node, asked for every call: without any they cost nothing."""

    _rules: dict[str, ApprovalRule] = field(default_factory=dict)

    def needed(self, call: Call, arguments: bytes) -> ApprovalRule | None:
        """Return the first rule that a call fits."""
        if not self._rules:
            return None
        return next((one for one in self._rules.values() if one.fits(call, arguments)), None)

    def put(self, rule: ApprovalRule) -> None:
        """Add or replace a rule.

        Raises:
            BadInputError: there are too many, or it cannot be used.

        """
        if rule.id not in self._rules and len(self._rules) >= RULES_MAX:
            raise BadInputError(f"There are {RULES_MAX} rules already.", fix="Remove one first.")
        checked(rule.conditions)
        self._rules[rule.id] = rule

    def remove(self, rule: str) -> bool:
        """Remove a rule; tell whether there was one."""
        return self._rules.pop(rule, None) is not None

    def all(self) -> Sequence[ApprovalRule]:
        """Return all rules in the order in which they are asked."""
        return tuple(self._rules.values())


def key_of_question(call: Call, rule: ApprovalRule) -> str:
    """Return what a yes is bound to."""
    principal = call.principal
    asker: list[Json] = [str(principal), principal.owner, call.task or ""]
    asked: list[Json] = [call.verb.value, call.target, call.argument_hash]
    # What a client answers to a tool's own question is no argument, but it decides what is done.
    bound: list[Json] = [str(call.facts.get(name, "")) for name in ("definition", "answers")]
    return sha256_hex(encode([*asker, *asked, *bound, rule.version]))


def checked(conditions: Iterable[Condition]) -> None:
    """Refuse conditions that cannot be asked.

    Raises:
        BadInputError: one of them has no pointer, or a value that its operator cannot compare with.

    """
    listed = tuple(conditions)
    if len(listed) > CONDITIONS_MAX:
        raise BadInputError(f"A rule has at most {CONDITIONS_MAX} conditions.")
    for one in listed:
        if one.pointer and not one.pointer.startswith("/"):
            raise BadInputError(
                f"{one.pointer!r} is no JSON pointer.", fix="Begin with a slash: /path"
            )
        if one.operator is Operator.MATCHES:
            try:
                re.compile(str(one.value))
            except re.error as error:
                raise BadInputError(
                    f"{one.value!r} is no regular expression.", why=str(error)
                ) from error


def _holds(condition: Condition, document: Json) -> bool:
    there, value = _at(document, condition.pointer)
    if condition.operator is Operator.EXISTS:
        return there
    if not there:
        return condition.operator is Operator.UNEQUAL
    return _FITS[condition.operator](value, condition.value)


def _matches(value: Json, wanted: Json) -> bool:
    """Search a text; what is none fits, so that it is looked at by a person."""
    return not isinstance(value, str) or bool(_pattern(str(wanted)).search(value))


def _is_under(value: Json, wanted: Json) -> bool:
    if not isinstance(value, str):
        return True
    found, above = (_rooted(one.replace("\\", "/")) for one in (value, str(wanted)))
    return found == above or found.startswith(above.rstrip("/") + "/")


def _rooted(path: str) -> str:
    """Resolve a path; two slashes at the front would stay two (POSIX), and be another path."""
    return normpath("/" + path.lstrip("/"))


def _is_equal(value: Json, wanted: Json) -> bool:
    """Compare as JSON does: 1 is not true."""
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def _compared(value: Json, wanted: Json, *, more: bool) -> bool:
    """Compare numbers; what is no number fits, so that it is looked at by a person."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    if not isinstance(wanted, int | float):
        return True
    return value > wanted if more else value < wanted


def _at(document: Json, pointer: str) -> tuple[bool, Json]:
    value = document
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return False, None
    return True, value


@lru_cache(maxsize=RULES_MAX)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.DOTALL)


_FITS: Final[Mapping[Operator, Callable[[Json, Json], bool]]] = {
    Operator.EQUAL: lambda value, wanted: value == wanted,
    Operator.UNEQUAL: lambda value, wanted: not _is_equal(value, wanted),
    Operator.LESS: partial(_compared, more=False),
    Operator.MORE: partial(_compared, more=True),
    Operator.MATCHES: _matches,
    Operator.UNDER: _is_under,
}
