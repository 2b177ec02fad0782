"""`[[needs.tool]]` and `[[needs.host]]`: a tool or a host that is asked for under conditions on its arguments.

    [[needs.tool]]
    name = "fs.read"
    path = "under:/data/x"

An argument that is itself called `name` stands under `arguments`. Which conditions there are is no matter of this layer:
here they are text, and whoever deploys the agent reads them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from hive.core.allow_rules import AllowRule
from hive.core.errors import SpecError
from hive.core.ids import printable

RuleTable: TypeAlias = Mapping[str, str | bool | dict[str, str]]
CONDITION_MAX_CHARS: Final = 1000
CONDITIONS_MAX: Final = 50
_NAME: Final = "name"
_ON: Final = "pass_on"
_ARGUMENTS: Final = "arguments"


def needs_rules(
    kind: str, tables: Sequence[RuleTable], read_name: Callable[[str], str]
) -> tuple[list[str], list[AllowRule]]:
    """Return the names that are to be used, and the rules; `read_name` refuses what is no name.

    Raises:
        SpecError: a table has no name, or a value is no text.

    """
    names: list[str] = []
    rules: list[AllowRule] = []
    for given in tables:
        rule = _rule(kind, given, read_name)
        rules.append(rule)
        if not rule.pass_on:
            names.append(str(given[_NAME]))
    return names, rules


def _rule(kind: str, given: RuleTable, read_name: Callable[[str], str]) -> AllowRule:
    name, pass_on, nested = given.get(_NAME), given.get(_ON, False), given.get(_ARGUMENTS, {})
    if not isinstance(name, str) or not isinstance(nested, dict) or not isinstance(pass_on, bool):
        raise SpecError(
            f"[[needs.{kind}]] needs a name.",
            why="`name` is a text, `arguments` a table, `pass_on` true or false.",
            fix=f'[[needs.{kind}]]\n  name = "..."',
        )
    pairs = {key: value for key, value in given.items() if key not in (_NAME, _ON, _ARGUMENTS)}
    every = {**pairs, **nested}
    good = len(every) <= CONDITIONS_MAX and all(
        isinstance(one, str) and len(one) <= CONDITION_MAX_CHARS for one in every.values()
    )
    if not good or (pass_on and kind != "tool"):
        raise SpecError(
            f"[[needs.{kind}]] {printable(name)} cannot be used.",
            why="A condition is a text such as under:/data; only a tool can be passed on.",
            fix="Correct it.",
        )
    return AllowRule(
        kind=kind,
        name=read_name(name),
        arguments=tuple(sorted((key, str(value)) for key, value in every.items())),
        pass_on=pass_on,
    )
