"""A model of relations: which types there are, which relations each has, and what a relation follows from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from hive.core.errors import BadInputError
from hive.security.relations.names import object_type, subject_parts, word
from hive.security.relations.ports import Relationship

TYPES_MAX: Final = 200
RELATIONS_MAX: Final = 100
NESTING_MAX: Final = 12
RULES_MAX: Final = 2000


@dataclass(frozen=True, slots=True)
class SubjectType:
    """Who may be written down: `user`, everybody (`user:*`), or who has a relation (`group#member`)."""

    type: str
    relation: str = ""
    everybody: bool = False

    def __str__(self) -> str:
        if self.everybody:
            return f"{self.type}:*"
        return f"{self.type}#{self.relation}" if self.relation else self.type


@dataclass(frozen=True, slots=True)
class Direct:
    """Who was written down, of these types."""

    types: tuple[SubjectType, ...]


@dataclass(frozen=True, slots=True)
class Computed:
    """Who has another relation to the same object."""

    relation: str


@dataclass(frozen=True, slots=True)
class Through:
    """Who has `relation` to an object that is written down under `link` (`viewer from parent`)."""

    relation: str
    link: str


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Whoever one of these names."""

    parts: tuple["Rule", ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Whoever all of these name."""

    parts: tuple["Rule", ...]


@dataclass(frozen=True, slots=True)
class Except:
    """Whoever `base` names and `without` does not."""

    base: "Rule"
    without: "Rule"


Rule: TypeAlias = Direct | Computed | Through | AnyOf | AllOf | Except


@dataclass(frozen=True, slots=True)
class RelationModel:
    """All rules, by type and relation; made by `model_of`, which has looked at them."""

    types: Mapping[str, Mapping[str, Rule]]

    def rule(self, kind: str, relation: str) -> Rule:
        """Return the rule of a relation. Raises BadInputError."""
        relations = self.types.get(kind)
        if relations is None:
            raise BadInputError(f"The model has no type {kind}.", fix="hive relation model show")
        rule = relations.get(relation)
        if rule is None:
            raise BadInputError(
                f"The type {kind} has no relation {relation}.", fix="hive relation model show"
            )
        return rule

    def admit(self, one: Relationship) -> None:
        """Return where a relationship may be written down. Raises BadInputError."""
        kind, related, everybody = subject_parts(one.subject)
        if one.subject == f"{one.object}#{one.relation}":
            raise BadInputError(f"{one} says nothing.", why="It holds already, for any object.")
        rule = self.rule(object_type(one.object), one.relation)
        if SubjectType(kind, related, everybody) not in direct_types(rule):
            raise BadInputError(
                f"The model does not allow {one}.",
                why="Who may be written down there: "
                + (", ".join(map(str, direct_types(rule))) or "nobody; it only follows from others")
                + ".",
            )

    def question(self, asked: Relationship) -> None:
        """Return where a question names what the model has. Raises BadInputError."""
        self.rule(object_type(asked.object), asked.relation)
        kind, related, _ = subject_parts(asked.subject)
        if related:
            self.rule(kind, related)
        elif kind not in self.types:
            raise BadInputError(f"The model has no type {kind}.", fix="hive relation model show")


def direct_types(rule: Rule) -> tuple[SubjectType, ...]:
    """Return who may be written down for a rule."""
    return next((one.types for one in parts_of(rule) if isinstance(one, Direct)), ())


def parts_of(rule: Rule) -> Iterator[Rule]:
    """Yield a rule and all its parts."""
    yield rule
    if isinstance(rule, AnyOf | AllOf):
        for one in rule.parts:
            yield from parts_of(one)
    elif isinstance(rule, Except):
        yield from parts_of(rule.base)
        yield from parts_of(rule.without)


def model_of(types: Mapping[str, Mapping[str, Rule]]) -> RelationModel:
    """Look at rules and make a model of them.

    Raises:
        BadInputError: they name what is not there, or would never name anybody.

    """
    if len(types) > TYPES_MAX or any(len(one) > RELATIONS_MAX for one in types.values()):
        raise broken("There are too many types or relations.")
    model = RelationModel(types)
    for kind, relations in types.items():
        word(kind, "type")
        for relation, rule in relations.items():
            word(relation, "relation")
            parts = list(parts_of(rule))
            if sum(isinstance(one, Direct) for one in parts) > 1 or len(parts) > RULES_MAX:
                raise broken(f"{kind}#{relation} has several lists in brackets, or is too long.")
            for one in parts:
                _check_part(model, kind, relation, one)
        _check_circles(kind, relations)
    return model


def broken(why: str) -> BadInputError:
    """Return the error of a model that cannot be used."""
    return BadInputError("The model cannot be used.", why=why)


def _check_part(model: RelationModel, kind: str, relation: str, rule: Rule) -> None:
    place = f"{kind}#{relation}"
    if isinstance(rule, Direct):
        _check_direct(model, place, rule)
    elif isinstance(rule, Through):
        _check_through(model, place, kind, rule)
    elif isinstance(rule, Computed) and rule.relation not in model.types[kind]:
        raise broken(f"{place}: {kind} has no relation {rule.relation}.")


def _check_direct(model: RelationModel, place: str, rule: Direct) -> None:
    if not rule.types:
        raise broken(f"{place}: the brackets are empty.")
    for one in rule.types:
        if one.type not in model.types:
            raise broken(f"{place}: there is no type {one.type}.")
        if one.relation and one.relation not in model.types[one.type]:
            raise broken(f"{place}: there is no relation {one}.")


def _check_through(model: RelationModel, place: str, kind: str, rule: Through) -> None:
    link = model.types[kind].get(rule.link)
    if not isinstance(link, Direct):
        raise broken(f"{place}: {rule.link} has to be a plain list in brackets.")
    if any(one.relation or one.everybody for one in link.types):
        raise broken(f"{place}: {rule.link} may name single objects only.")
    if not any(rule.relation in model.types.get(one.type, {}) for one in link.types):
        raise broken(f"{place}: nothing under {rule.link} has a relation {rule.relation}.")


def _check_circles(kind: str, relations: Mapping[str, Rule]) -> None:
    """Refuse relations of one object that follow from each other in a circle: nobody could tell what they mean."""
    followed = {
        name: {one.relation for one in parts_of(rule) if isinstance(one, Computed)}
        for name, rule in relations.items()
    }
    free = {name for name, needs in followed.items() if not needs}
    for _ in followed:
        free |= {name for name, needs in followed.items() if needs <= free}
    if circle := sorted(followed.keys() - free):
        raise broken(f"{kind}: {', '.join(circle)} follow from each other in a circle.")
