"""The modelling language of OpenFGA (schema 1.1), read and written: types, relations, `or`, `and`, `but not`, `from`.

Conditions and models in several modules are refused by name, never overlooked.
"""

import re
from typing import Final

from hive.core.errors import BadInputError
from hive.security.relations.model import (
    NESTING_MAX,
    AllOf,
    AnyOf,
    Computed,
    Direct,
    Except,
    RelationModel,
    Rule,
    SubjectType,
    Through,
    broken,
    model_of,
)

MODEL_MAX_BYTES: Final = 128 << 10
SCHEMA: Final = "1.1"
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")
_TYPE: Final = re.compile(r"type\s+(\S+)")
_DEFINE: Final = re.compile(r"define\s+([^\s:]+)\s*:\s*(.+)")
_TOKEN: Final = re.compile(r"\s*(\(|\)|\[[^\]]*\]|[^\s()\[\]]+)")
_OPERATORS: Final = ("or", "and", "but")


def model_from_text(text: str) -> RelationModel:
    """Read a model.

    Raises:
        BadInputError: it is none; `why` names the line.

    """
    if len(text.encode()) > MODEL_MAX_BYTES:
        raise broken(f"It has more than {MODEL_MAX_BYTES} bytes.")
    found: dict[str, dict[str, Rule]] = {}
    seen: list[str] = []
    kind = ""
    for number, line in enumerate(text.splitlines(), 1):
        words = _COMMENT.sub("", line).strip()
        if not words:
            continue
        try:
            kind = _read_line(words, seen, found, kind)
        except BadInputError as error:
            raise broken(f"line {number}: {error.why or error.what}") from None
    if seen[:2] != ["model", "schema"]:
        raise broken(f"It has to begin with `model` and `schema {SCHEMA}`.")
    return model_of(found)


def text_of(model: RelationModel) -> str:
    """Write a model."""
    lines = ["model", f"  schema {SCHEMA}"]
    for kind, relations in model.types.items():
        lines += ["", f"type {kind}"]
        lines += ["  relations"] if relations else []
        lines += [f"    define {name}: {rule_text(rule)}" for name, rule in relations.items()]
    return "\n".join(lines) + "\n"


def rule_text(rule: Rule, *, inside: bool = False) -> str:
    """Write a rule; `inside` of another one, what has an operator stands in parentheses."""
    if isinstance(rule, Direct):
        return f"[{', '.join(map(str, rule.types))}]"
    if isinstance(rule, Computed):
        return rule.relation
    if isinstance(rule, Through):
        return f"{rule.relation} from {rule.link}"
    if isinstance(rule, Except):
        text = f"{rule_text(rule.base, inside=True)} but not {rule_text(rule.without, inside=True)}"
    else:
        word = " or " if isinstance(rule, AnyOf) else " and "
        text = word.join(rule_text(one, inside=True) for one in rule.parts)
    return f"({text})" if inside else text


def _read_line(words: str, seen: list[str], found: dict[str, dict[str, Rule]], kind: str) -> str:
    """Take one line in; return the type that the lines after it belong to."""
    if words in ("model", "relations"):
        seen.append(words)
        return kind
    if words.split() == ["schema", SCHEMA]:
        seen.append("schema")
        return kind
    if named := _TYPE.fullmatch(words):
        if named[1] in found:
            raise broken(f"the type {named[1]} stands twice")
        found[named[1]] = {}
        return named[1]
    defined = _DEFINE.fullmatch(words)
    if defined is None or not kind:
        raise broken(f"`{words[:40]}` is not understood here (conditions and modules are not)")
    if defined[1] in found[kind]:
        raise broken(f"{kind}#{defined[1]} stands twice")
    found[kind][defined[1]] = RuleReader(defined[2]).rule()
    return kind


class RuleReader:
    """Reads what stands behind `define name:`."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        self._at = 0
        while self._at < len(text):
            found = _TOKEN.match(text, self._at)
            if found is None:
                raise broken(f"`{text[self._at :][:40]}` is not understood")
            self._tokens.append(found[1])
            self._at = found.end()
        self._at = 0
        self._depth = 0

    def rule(self) -> Rule:
        """Read all of it. Raises BadInputError."""
        rule = self._several()
        if self._at < len(self._tokens):
            raise broken(f"`{self._tokens[self._at][:40]}` is not expected there")
        return rule

    def _several(self) -> Rule:
        self._depth += 1
        if self._depth > NESTING_MAX:
            raise broken("the parentheses nest too deeply")
        parts, operator = [self._one()], ""
        while self._next() in _OPERATORS:
            word = self._take()
            if word == "but" and self._take() != "not":
                raise broken("`but` needs `not` behind it")
            if operator and (operator != word or word == "but"):
                raise broken("several operators need parentheses")
            operator = word
            parts.append(self._one())
        self._depth -= 1
        if operator == "but":
            return Except(parts[0], parts[1])
        if operator:
            return AnyOf(tuple(parts)) if operator == "or" else AllOf(tuple(parts))
        return parts[0]

    def _one(self) -> Rule:
        word = self._take()
        if word == "(":
            rule = self._several()
            if self._take() != ")":
                raise broken("a parenthesis is not closed")
            return rule
        if word.startswith("["):
            return Direct(tuple(_subject_type(one.strip()) for one in word[1:-1].split(",")))
        if word in (*_OPERATORS, "", ")", "from", "not"):
            raise broken(f"a relation is expected in place of `{word or 'the end'}`")
        if self._next() != "from":
            return Computed(word)
        self._take()
        return Through(word, self._take())

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        word = self._next()
        self._at += 1
        return word


def _subject_type(text: str) -> SubjectType:
    if " " in text:
        raise broken(f"`{text[:60]}`: conditions are not known here")
    kind, star, _ = text.partition(":*")
    if star:
        if text != f"{kind}:*":
            raise broken(f"`{text[:60]}` is no type")
        return SubjectType(kind, everybody=True)
    kind, _, relation = text.partition("#")
    return SubjectType(kind, relation)
