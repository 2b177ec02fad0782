"""What tests of relationships share: random models and tuples, a slow reference, and a search without a database.

The reference knows nothing of searching: it writes every relation of every object down and lets rules fire until
nothing changes. What is left without a reason is false (the greatest unfounded set), what is neither is undecided.
"""

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from hive.core.call import Call, EffectClass, Principal, PrincipalKind, TraceContext, Verb
from hive.core.ids import AgentId, CallId, OwnerId, SpanId, TraceId
from hive.security.relations.model import (
    AllOf,
    AnyOf,
    Computed,
    Direct,
    Except,
    RelationModel,
    Rule,
    SubjectType,
    Through,
    model_of,
)
from hive.security.relations.ports import Relationship
from hive.security.relations.search import RelationSearch

USERS = ("user:ann", "user:bob", "user:cy")
GROUPS = ("group:a", "group:b", "group:c")
FOLDERS = ("folder:f", "folder:g")
DOCUMENTS = ("document:x", "document:y")
OBJECTS = GROUPS + FOLDERS + DOCUMENTS


def kind_of(name: str) -> str:
    return name.partition(":")[0]


def random_model(dice: random.Random) -> RelationModel:
    """Return a model of groups, folders and documents with rules as the dice fall."""
    member = Direct(
        (SubjectType("user"), SubjectType("group", "member"))
        + ((SubjectType("user", everybody=True),) if dice.random() < 0.4 else ())
    )
    banned = Direct(
        (SubjectType("user"), SubjectType("group", "member"), SubjectType("group", "core"))
    )
    core = dice.choice((Computed("member"), Except(Computed("member"), Computed("banned"))))
    types = {
        "user": {},
        "group": {"member": member, "banned": banned, "core": core},
        "folder": _folder(dice),
    }
    types["document"] = _document(dice)
    return model_of(types)


def _subjects(dice: random.Random) -> Direct:
    several = [SubjectType("user"), SubjectType("group", "member"), SubjectType("group", "core")]
    if dice.random() < 0.4:
        several.append(SubjectType("user", everybody=True))
    return Direct(tuple(several))


def _folder(dice: random.Random) -> dict[str, Rule]:
    found: dict[str, Rule] = {
        "parent": Direct((SubjectType("folder"),)),
        "owner": _subjects(dice),
        "blocked": _subjects(dice),
    }
    leaves: list[Rule] = [Computed("owner"), Through("viewer", "parent"), Computed("blocked")]
    found["viewer"] = AnyOf((_subjects(dice), _rule(dice, leaves, 2), Through("viewer", "parent")))
    return found


def _document(dice: random.Random) -> dict[str, Rule]:
    found: dict[str, Rule] = {
        "parent": Direct((SubjectType("folder"), SubjectType("document"))),
        "blocked": Direct((SubjectType("user"), SubjectType("document", "viewer"))),
        "owner": Direct(
            (SubjectType("user"), SubjectType("document", "viewer"), SubjectType("group", "member"))
        ),
    }
    leaves: list[Rule] = [
        Computed("owner"),
        Computed("blocked"),
        Through("viewer", "parent"),
        Through("owner", "parent"),
    ]
    found["viewer"] = AnyOf((_subjects(dice), _rule(dice, leaves, 3)))
    found["may"] = _rule(dice, [*leaves, Computed("viewer")], 3)
    return found


def _rule(dice: random.Random, leaves: Sequence[Rule], depth: int) -> Rule:
    if depth == 0 or dice.random() < 0.2:
        return dice.choice(leaves)
    one, other = (_rule(dice, leaves, depth - 1) for _ in range(2))
    if one == other:
        return one
    return dice.choice((AnyOf((one, other)), AllOf((one, other)), Except(one, other)))


def random_tuples(dice: random.Random, model: RelationModel, count: int) -> set[Relationship]:
    found: set[Relationship] = set()
    places = [
        (one, relation, rule)
        for one in OBJECTS
        for relation, whole in model.types[kind_of(one)].items()
        for rule in _directs(whole)
    ]
    for _ in range(count):
        one, relation, rule = dice.choice(places)
        subject = _subject(dice, dice.choice(rule.types))
        if subject != f"{one}#{relation}":
            found.add(Relationship(one, relation, subject))
    return found


def _directs(rule: Rule) -> Iterable[Direct]:
    if isinstance(rule, Direct):
        yield rule
    for part in getattr(rule, "parts", ()):
        yield from _directs(part)
    if isinstance(rule, Except):
        yield from _directs(rule.base)
        yield from _directs(rule.without)


def _subject(dice: random.Random, wanted: SubjectType) -> str:
    if wanted.everybody:
        return f"{wanted.type}:*"
    one = dice.choice([name for name in OBJECTS + USERS if kind_of(name) == wanted.type])
    return f"{one}#{wanted.relation}" if wanted.relation else one


class SlowRelations:
    """All answers for one subject, by brute force."""

    def __init__(self, model: RelationModel, tuples: set[Relationship], subject: str) -> None:
        self._model = model
        self._tuples = tuples
        self._subject = subject
        atoms = [(one, name) for one in OBJECTS for name in model.types[kind_of(one)]]
        self.true: set[tuple[str, str]] = set()
        self.false: set[tuple[str, str]] = set()
        while True:
            true = {one for one in atoms if self._value(one) is True}
            unfounded = set(atoms) - self.false - self.true
            while True:
                founded = {one for one in unfounded if self._could(one, unfounded)}
                if not founded:
                    break
                unfounded -= founded
            false = self.false | unfounded
            if true <= self.true and false == self.false:
                return
            self.true |= true
            self.false = false

    def _value(self, atom: tuple[str, str]) -> bool | None:
        """Return what is certain."""
        return self._fold(
            atom, lambda one: True if one in self.true else False if one in self.false else None
        )

    def _could(self, atom: tuple[str, str], unfounded: set[tuple[str, str]]) -> bool:
        """Tell whether an atom might hold without anything that is unfounded."""
        rule = self._model.types[kind_of(atom[0])][atom[1]]
        return self._reachable(atom[0], atom[1], rule, unfounded, positive=True)

    def _reachable(
        self, one: str, relation: str, rule: Rule, unfounded: set, *, positive: bool
    ) -> bool:
        def holds(atom: tuple[str, str]) -> bool:
            if positive:
                return atom not in unfounded and atom not in self.false
            return atom in self.true

        if isinstance(rule, AnyOf):
            return any(
                self._reachable(one, relation, each, unfounded, positive=positive)
                for each in rule.parts
            )
        if isinstance(rule, AllOf):
            return all(
                self._reachable(one, relation, each, unfounded, positive=positive)
                for each in rule.parts
            )
        if isinstance(rule, Except):
            return self._reachable(one, relation, rule.base, unfounded, positive=positive) and not (
                self._reachable(one, relation, rule.without, unfounded, positive=not positive)
            )
        return any(
            each if isinstance(each, bool) else holds(each)
            for each in self._sources(one, relation, rule)
        )

    def _sources(self, one: str, relation: str, rule: Rule) -> list:
        if isinstance(rule, Computed):
            return [(one, rule.relation)]
        if isinstance(rule, Through):
            return [
                (each.subject, rule.relation)
                for each in self._tuples
                if (each.object, each.relation) == (one, rule.link)
                and rule.relation in self._model.types[kind_of(each.subject)]
            ]
        found: list = [f"{one}#{relation}" == self._subject]
        everybody = f"{kind_of(self._subject)}:*" if "#" not in self._subject else None
        for each in self._tuples:
            if (each.object, each.relation) != (one, relation):
                continue
            if each.subject in (self._subject, everybody):
                found.append(True)
            elif "#" in each.subject:
                name, _, inner = each.subject.partition("#")
                found.append((name, inner))
        return found

    def _fold(self, atom, value) -> bool | None:
        if f"{atom[0]}#{atom[1]}" == self._subject:
            return True

        def of(rule: Rule) -> bool | None:
            if isinstance(rule, AnyOf):
                told = [of(each) for each in rule.parts]
                return True if True in told else None if None in told else False
            if isinstance(rule, AllOf):
                told = [of(each) for each in rule.parts]
                return False if False in told else None if None in told else True
            if isinstance(rule, Except):
                base, without = of(rule.base), of(rule.without)
                if base is False or without is True:
                    return False
                return None if None in (base, without) else True
            told = [
                each if isinstance(each, bool) else value(each)
                for each in self._sources(*atom, rule)
            ]
            return True if True in told else None if None in told else False

        return of(self._model.types[kind_of(atom[0])][atom[1]])


def search_in(model: RelationModel, tuples: set[Relationship], subject: str) -> RelationSearch:
    """Return a search over tuples in memory."""

    async def read(links, asked, subjects, limit):
        found: dict = {}
        for one in sorted(tuples):
            node = one.object, one.relation
            wanted = node in asked and ("#" in one.subject or one.subject in subjects)
            if node in links or wanted:
                found.setdefault(node, []).append(one.subject)
        return found

    return RelationSearch(model, subject, read)


def call_of(owner: str = "ann", target: str = "docs.read") -> Call:
    """Return a tool call of the agent scribe for an owner."""
    at = datetime(2026, 1, 5, tzinfo=UTC)
    return Call(
        id=CallId("c1"),
        principal=Principal(
            kind=PrincipalKind.AGENT, name="scribe", owner=OwnerId(owner), agent=AgentId("scribe")
        ),
        verb=Verb.INVOKE,
        target=target,
        effect=EffectClass.ONCE,
        argument_hash="",
        at=at,
        deadline=at,
        trace=TraceContext(trace_id=TraceId("0" * 32), span_id=SpanId("0" * 16)),
    )
