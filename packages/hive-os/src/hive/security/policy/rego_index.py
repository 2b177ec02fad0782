"""Which rules can be left out for a call, because they name another target.

A rule of the form `deny contains .. if { input.target == "mail.send"; .. }` says nothing of any other target. For each
target that rules name, and once for all others, the machine is given the rules without those that cannot fire. A name
keeps at least one of its rules, so that a set which nobody fills stays an empty set and does not become undefined.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hive.core.json import Json
from hive.security.policy.rego_tree import dotted, head_of, listed, table

TARGETS_MAX: Final = 256
RULES_MIN: Final = 8
TEXT_MAX_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class _Bound:
    """A rule that fires for one target only: where it stands in the text of its module, in bytes."""

    target: str
    start: int
    end: int


class TargetIndex:
    """The rules of a bundle, by the targets that they name."""

    def __init__(
        self, modules: Sequence[tuple[str, str]], trees: Sequence[Mapping[str, Json]]
    ) -> None:
        self._modules = modules
        self._bound: dict[str, list[_Bound]] = {}
        for tree in trees:
            file = str(table(tree.get("source")).get("file"))
            self._bound[file] = list(_bound_rules(table(tree.get("ast")).get("rules")))
        bound = [one for rules in self._bound.values() for one in rules]
        targets = frozenset(one.target for one in bound)
        useful = len(bound) >= RULES_MIN and len(targets) <= TARGETS_MAX
        self.targets: frozenset[str] = targets if useful else frozenset()
        """The targets that are worth rules of their own; empty where nothing is gained."""

    def rules_for(self, target: str) -> list[tuple[str, str]]:
        """Return the modules without what cannot fire for a target."""
        found = []
        for path, text in self._modules:
            data = bytearray(text.encode())
            for one in self._bound.get(path, ()):
                if one.target != target:
                    # Blanks instead of nothing: what is told of a line still fits.
                    kept = bytes(b if b in b"\r\n" else 0x20 for b in data[one.start : one.end])
                    data[one.start : one.end] = kept
            found.append((path, data.decode()))
        return found


def _bound_rules(rules: Json) -> list[_Bound]:
    seen: set[str] = set()
    found = []
    starts = sorted(_start_of(rule) for rule in listed(rules))
    for rule in listed(rules):
        path = dotted(head_of(rule))
        name = path[0] if path else ""
        spec = table(table(rule).get("Spec"))
        target = _target_of(spec)
        if name in seen and target is not None:
            start = _start_of(rule)
            # Up to the next rule: where one ends, the tree does not tell to the byte.
            end = next((one for one in starts if one > start), TEXT_MAX_BYTES)
            found.append(_Bound(target, start, end))
        seen.add(name)
    return found


def _start_of(rule: Json) -> int:
    for shape in table(rule).values():
        start = table(table(shape).get("span")).get("start")
        if isinstance(start, int):
            return start
    return 0


def _target_of(spec: Mapping[str, Json]) -> str | None:
    """Return the one target for which a rule of a set can fire, None where there may be others."""
    bodies = listed(spec.get("bodies"))
    if "Set" not in table(spec.get("head")) or len(bodies) != 1:
        return None
    body = table(bodies[0])
    if body.get("is_else") or body.get("assign"):
        return None
    for statement in listed(table(body.get("query")).get("stmts")):
        expression = table(table(table(statement).get("literal")).get("Expr")).get("expr")
        compared = table(table(expression).get("BoolExpr"))
        if compared.get("op") != "Eq" or table(statement).get("with_mods"):
            continue
        sides = (compared.get("lhs"), compared.get("rhs"))
        for one, other in (sides, sides[::-1]):
            if dotted(one) == ["input", "target"] and "String" in table(other):
                written = str(table(table(other)["String"]).get("value"))
                # The tree has a text as it is written, so that one with an escape stands for another.
                return None if "\\" in written else written
    return None
