"""What can be told of Rego rules without running them, from the syntax tree that the engine gives.

Three things are looked for. A rule that calls what would make an answer depend on anything but the question, or take
any length of time, is refused. So is one that reads a field which no question has: it would never fire, and nobody
would notice. And where a rule applies a function to what the caller wrote (`startswith(input.arguments.to, ..)`), a
caller that writes a number there makes the function fail, which Rego takes for "no": such rules are asked again by an
evaluator that takes a failed function for an error, and so does it with going through (`some to in ..`) what is no
collection.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from hive.core.json import Json
from hive.security.policy.rego_tree import (
    body_of,
    dotted,
    expressions,
    head_of,
    listed,
    table,
)
from hive.security.policy.rego_words import (
    ALLOWED,
    COLLECTIONS,
    FIELDS,
    INNER_FIELDS,
    LISTS,
    OF_TEXT,
    OF_THE_AUTHOR,
    TEXT_FIELDS,
    TOTAL,
)

RULES: Final = ("hive", "rules")
ALL: Final = "*"
OWN_TEXT_MAX_CHARS: Final = 256
Package: TypeAlias = tuple[str, ...]
Rule: TypeAlias = tuple[Package, str]


@dataclass(slots=True)
class Findings:
    """What was found in the modules of a bundle."""

    problems: list[str] = field(default_factory=list)
    rules: int = 0
    fallible: set[str] = field(default_factory=set)
    """Verbs whose rules apply functions to what the caller wrote; `*` stands for all."""
    arguing: set[str] = field(default_factory=set)
    """Verbs whose rules look at arguments."""
    keys: set[str] = field(default_factory=set)
    """Names of arguments that rules look at."""
    words: set[str] = field(default_factory=set)
    """Texts that stand in rules: what a made-up question should hold."""


def is_test(path: str) -> bool:
    """Tell whether a module holds tests."""
    return path.endswith("_test.rego")


def examine(modules: list[Mapping[str, Json]]) -> Findings:
    """Look through the syntax trees of all modules of a bundle."""
    found = Findings()
    read = [_Module(one) for one in modules]
    names: dict[Package, set[str]] = {}
    for module in read:
        names.setdefault(module.package, set()).update(module.rule_names())
    for module in read:
        module.look(found, names[module.package])
    calls: dict[Rule, set[Rule]] = {}
    for module in read:
        if not is_test(module.file):
            module.note_calls(calls, names)
    circle = circle_in(calls)
    if circle:
        told = " -> ".join(".".join((*package, name)) for package, name in circle)
        found.problems.append(f"rules call each other in a circle: {told}")
    return found


class _Module:
    def __init__(self, tree: Mapping[str, Json]) -> None:
        source, syntax = table(tree.get("source")), table(tree.get("ast"))
        self.file = str(source.get("file"))
        self.package = tuple(dotted(table(syntax.get("package")).get("refr")) or ())
        self._rules = syntax.get("rules")
        self._imports: dict[str, list[str]] = {}
        for one in listed(syntax.get("imports")):
            path = dotted(table(one).get("refr")) or [""]
            alias = table(one).get("as")
            self._imports[str(alias[-1]) if isinstance(alias, list) else path[-1]] = path
        self._aliases = set(self._imports)
        of_rules = self.package[:2] == RULES and len(self.package) > 2
        self._verb = self.package[2] if of_rules and self.package[2] != "every" else ALL

    def rule_names(self) -> set[str]:
        """Return the names that this module defines."""
        return {path[0] for rule in listed(self._rules) if (path := dotted(head_of(rule)))}

    def look(self, found: Findings, names: set[str]) -> None:
        """Look at every expression."""
        test = is_test(self.file)
        found.rules += 0 if test else len(listed(self._rules))
        for kind, node in expressions(self._rules):
            if kind in ("String", "RawString") and not test:
                found.words.add(str(node.get("value"))[:200])
            elif kind == "Call":
                self._call(found, node, names, test=test)
            elif test:
                continue
            elif kind in ("ArithExpr", "UnaryExpr", "BinExpr") and not _is_safe(
                node, self._aliases
            ):
                found.fallible.add(self._verb)
            elif kind == "SomeIn":
                if not self._is_collection(node.get("collection"), names):
                    found.fallible.add(self._verb)
            elif kind in ("RefDot", "RefBrack"):
                self._reference(found, kind, node)
            elif kind == "InputAlone":
                found.arguing.add(self._verb)

    def note_calls(self, calls: dict[Rule, set[Rule]], names: Mapping[Package, set[str]]) -> None:
        """Note which rules each rule of this module may ask."""
        for rule in listed(self._rules):
            path = dotted(head_of(rule))
            if path is None:
                continue
            asked = calls.setdefault((self.package, path[0]), set())
            for kind, node in expressions(body_of(rule)):
                if kind in ("Var", "RefDot", "RefBrack"):
                    asked |= self._meant({kind: dict(node)}, names)

    def _meant(self, node: Json, names: Mapping[Package, set[str]]) -> set[Rule]:
        path = dotted(node)
        if path is None:
            return set()
        if path[0] in names[self.package]:
            return {(self.package, path[0])}
        if path[0] != "data":
            imported = self._imports.get(path[0])
            if imported is None:
                return set()
            path = [*imported, *path[1:]]
        place = tuple(path[1:])
        found: set[Rule] = set()
        for package, defined in names.items():
            size = len(package)
            if place[:size] == package:
                # Below a package stands a rule; the package itself, or a name known only later, is all of them.
                asked = place[size : size + 1]
                found |= {(package, one) for one in defined if not asked or one == asked[0]}
            elif package[: len(place)] == place and len(place) > 1:
                found |= {(package, one) for one in defined}
        return found

    def _call(
        self, found: Findings, node: Mapping[str, Json], names: set[str], *, test: bool
    ) -> None:
        path = dotted(node.get("fcn")) or ["?"]
        name = ".".join(path)
        if path[0] == "data" or path[0] in self._aliases or name in names:
            return
        if name not in ALLOWED:
            found.problems.append(
                f"{self.file}:{_line(node)}: {name} may not be called: an answer has to follow from"
                " the question alone, in bounded time"
            )
        elif not self._is_bounded(name, listed(node.get("params"))):
            found.problems.append(
                f"{self.file}:{_line(node)}: argument {OF_THE_AUTHOR[name] + 1} of {name} has to be"
                " written in the rules or in data, so that no caller can make it as long as they like"
            )
        elif not test and not self._cannot_fail(name, listed(node.get("params")), names):
            found.fallible.add(self._verb)

    def _is_bounded(self, name: str, params: list[Json]) -> bool:
        place = OF_THE_AUTHOR.get(name)
        return place is None or place >= len(params) or _is_own(params[place], self._aliases)

    def _cannot_fail(self, name: str, params: list[Json], names: set[str]) -> bool:
        if name in TOTAL:
            return True
        if name == "count" and len(params) == 1:
            path = dotted(params[0]) or [""]
            return path[0] in names or path[0] == "data"
        return name in OF_TEXT and all(_is_text(one, self._aliases) for one in params)

    def _is_collection(self, node: Json, names: set[str]) -> bool:
        """Tell whether what is gone through is a collection for certain."""
        whole = table(node)
        if not COLLECTIONS.isdisjoint(whole):
            return True
        path = dotted(node)
        if path is None:
            return False
        of_question = path[0] == "input" and (len(path) == 1 or path[1:] in LISTS)
        return of_question or path[0] in names or path[0] == "data" or path[0] in self._aliases

    def _reference(self, found: Findings, kind: str, node: Mapping[str, Json]) -> None:
        path = dotted({kind: dict(node)})
        if path is None or path[0] != "input" or len(path) < 2:
            return
        wrong = ""
        if path[1] not in FIELDS:
            wrong = path[1]
        elif len(path) > 2 and path[2] not in INNER_FIELDS.get(path[1], path):
            wrong = f"{path[1]}.{path[2]}"
        if wrong:
            told = f"{self.file}:{_line(node)}: no question has a field `{wrong}`"
            if told not in found.problems:
                found.problems.append(told)
        if path[1] == "arguments":
            found.arguing.add(self._verb)
            found.keys.update(path[2:3])


def circle_in(calls: Mapping[Rule, set[Rule]]) -> list[Rule]:
    """Return rules that ask each other in a circle, nothing where there are none."""
    done: set[Rule] = set()
    for first in sorted(calls):
        left = [(first, iter(sorted(calls[first])))] if first not in done else []
        way = [first]
        while left:
            rule, further = left[-1]
            following = next(further, None)
            if following is None:
                done.add(rule)
                left.pop()
                way.pop()
            elif following in way:
                return [*way[way.index(following) :], following]
            elif following not in done:
                way.append(following)
                left.append((following, iter(sorted(calls.get(following, ())))))
    return []


def _is_own(node: Json, aliases: set[str]) -> bool:
    """Tell whether a value is the rules' own: written in them, or in data."""
    whole = table(node)
    if "String" in whole or "RawString" in whole:
        text = table(whole.get("String") or whole.get("RawString")).get("value")
        return len(str(text)) <= OWN_TEXT_MAX_CHARS
    for kind in ("Array", "Set"):
        if kind in whole:
            return all(_is_own(one, aliases) for one in listed(table(whole[kind]).get("items")))
    path = dotted(node)
    return path is not None and (path[0] == "data" or path[0] in aliases)


def _is_text(node: Json, aliases: set[str]) -> bool:
    whole = table(node)
    if "String" in whole or "RawString" in whole or "Null" in whole:
        return True
    if "Array" in whole:
        return all(_is_text(one, aliases) for one in listed(table(whole["Array"]).get("items")))
    path = dotted(node)
    if path is None:
        return False
    if path[0] == "data" or path[0] in aliases:
        return True
    known = len(path) == 2 and path[1] in TEXT_FIELDS
    return path[0] == "input" and (known or (len(path) == 3 and path[1] == "principal"))


def _is_safe(node: Mapping[str, Json], aliases: set[str]) -> bool:
    sides = [node[key] for key in ("lhs", "rhs", "expr") if key in node]
    for side in sides:
        path = dotted(side)
        known = path is not None and (path[0] == "data" or path[0] in aliases)
        if not known and "Number" not in table(side):
            return False
    return True


def _line(node: Mapping[str, Json]) -> str:
    return str(table(node.get("span")).get("line", "?"))
