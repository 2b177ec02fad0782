"""The search behind a check: for one subject, which relations to which objects hold.

Each (object, relation) that the question leads to is one node, looked at once, whatever way leads there: a circle of
relationships is an edge to a node that is there already. What is written down is read level by level, one query a
level, and reading ends as soon as what is known decides the question, or at a bound.

A node is yes, no or not known. Most questions are decided on the way. Where all is read and circles remain, the
well-founded model of the rules decides: a relation that has nothing but itself to stand on does not hold, and one that
stands on its own absence is *undecided*, which is never a yes, nor the no that an exception waits for.
"""

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from hive.core.errors import TooLargeError
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
)
from hive.security.relations.names import object_type, subject_parts

LEVELS_MAX: Final = 25
NODES_MAX: Final = 2000
ROWS_MAX: Final = 10_000
ROUNDS_MAX: Final = 50

Node: TypeAlias = tuple[str, str]
"""An object and a relation."""
Found: TypeAlias = Mapping[Node, Sequence[str]]


class TupleReader(Protocol):
    """Reads what was written down, at one revision."""

    def __call__(
        self, links: Sequence[Node], asked: Sequence[Node], subjects: Sequence[str], limit: int
    ) -> Awaitable[Found]:
        """Return subjects: of `links` all, of `asked` those in `subjects` and all with a relation of their own."""
        ...


@dataclass(frozen=True, slots=True)
class Yes:
    """It holds or it does not, whatever else is found."""

    value: bool


@dataclass(frozen=True, slots=True)
class At:
    """It holds where another node does."""

    node: Node


@dataclass(frozen=True, slots=True)
class Some:
    """It holds where one part does."""

    parts: tuple["Term", ...]


@dataclass(frozen=True, slots=True)
class Every:
    """It holds where all parts do."""

    parts: tuple["Term", ...]


@dataclass(frozen=True, slots=True)
class Less:
    """It holds where `base` does and `without` does not."""

    base: "Term"
    without: "Term"


Term: TypeAlias = Yes | At | Some | Every | Less


@dataclass(slots=True)
class RelationSearch:
    """What is known so far of one subject."""

    model: RelationModel
    subject: str
    read: TupleReader
    terms: dict[Node, Term] = field(default_factory=dict)
    values: dict[Node, bool] = field(default_factory=dict)
    users: dict[Node, list[Node]] = field(default_factory=dict)
    rows: int = 0

    async def decide(self, *roots: Node) -> Mapping[Node, bool | None]:
        """Return for each root whether it holds; None is undecided.

        Raises:
            TooLargeError: a bound was met before the answer was known.

        """
        for _ in range(LEVELS_MAX):
            level, within = self._frontier(roots)
            if not level:
                break
            await self._expand(level)
            self._propagate(level)
        level, within = self._frontier(roots)
        if level:
            raise TooLargeError(
                "The relationships are too deep to be followed.", why=f"At most {LEVELS_MAX} steps."
            )
        if within:
            self.values.update(settled({one: self.terms[one] for one in within}, self.values))
        return {one: self.values.get(one) for one in roots}

    def _frontier(self, roots: Sequence[Node]) -> tuple[list[Node], list[Node]]:
        """Return the nodes to look at next, and those that were looked at and are open: what the roots hang on."""
        level: dict[Node, None] = {}
        within: dict[Node, None] = {}
        pending = [one for one in roots if one not in self.values]
        while pending:
            node = pending.pop()
            if node in self.values or node in within or node in level:
                continue
            if node not in self.terms:
                level[node] = None
            else:
                within[node] = None
                pending.extend(nodes_of(self.terms[node]))
        return list(level), list(within)

    async def _expand(self, level: list[Node]) -> None:
        """Look at the nodes of one level."""
        if len(self.terms) + len(level) > NODES_MAX:
            raise TooLargeError(
                "The relationships branch too widely.", why=f"At most {NODES_MAX} are followed."
            )
        rules = {node: self.model.rule(object_type(node[0]), node[1]) for node in level}
        links, asked = set[Node](), set[Node]()
        for node, rule in rules.items():
            for one in _leaves(rule):
                if isinstance(one, Through):
                    links.add((node[0], one.link))
                elif isinstance(one, Direct):
                    asked.add(node)
        found: Found = {}
        if links or asked:
            left = ROWS_MAX - self.rows
            found = await self.read(sorted(links), sorted(asked), self._matching(), left + 1)
            self.rows += sum(map(len, found.values()))
            if self.rows > ROWS_MAX:
                raise TooLargeError(
                    "Too many relationships take part.", why=f"At most {ROWS_MAX} are read."
                )
        for node, rule in rules.items():
            self.terms[node] = self._term(node, rule, found)
            for needed in nodes_of(self.terms[node]):
                self.users.setdefault(needed, []).append(node)

    def _matching(self) -> tuple[str, ...]:
        """Return what a subject is written down as: itself, and everybody of its type."""
        kind, related, everybody = subject_parts(self.subject)
        return (self.subject,) if related or everybody else (self.subject, f"{kind}:*")

    def _term(self, node: Node, rule: Rule, found: Found) -> Term:
        if f"{node[0]}#{node[1]}" == self.subject:
            return Yes(value=True)
        if isinstance(rule, Direct):
            return self._written(rule, found.get(node, ()))
        if isinstance(rule, Computed):
            return At((node[0], rule.relation))
        if isinstance(rule, Through):
            return self._through(node, rule, found)
        if isinstance(rule, Except):
            base, without = (self._term(node, one, found) for one in (rule.base, rule.without))
            return Less(base, without)
        parts = tuple(self._term(node, one, found) for one in rule.parts)
        return Some(parts) if isinstance(rule, AnyOf) else Every(parts)

    def _written(self, rule: Direct, subjects: Sequence[str]) -> Term:
        """Return what written-down subjects come to; those that the model allows no more count no more."""
        matching = self._matching()
        parts: list[Term] = []
        for one in subjects:
            kind, related, everybody = subject_parts(one)
            if SubjectType(kind, related, everybody) not in rule.types:
                continue
            if one in matching:
                return Yes(value=True)
            if related and not everybody:
                parts.append(At((one.partition("#")[0], related)))
        return Some(tuple(parts)) if parts else Yes(value=False)

    def _through(self, node: Node, rule: Through, found: Found) -> Term:
        parts: list[Term] = []
        link = self.model.rule(object_type(node[0]), rule.link)
        allowed = {one.type for one in link.types} if isinstance(link, Direct) else set()
        for one in found.get((node[0], rule.link), ()):
            kind, related, everybody = subject_parts(one)
            plain = not related and not everybody and kind in allowed
            if plain and rule.relation in self.model.types.get(kind, {}):
                parts.append(At((one, rule.relation)))
        return Some(tuple(parts)) if parts else Yes(value=False)

    def _propagate(self, level: Sequence[Node]) -> None:
        """Take in all that is certain already, whatever is found later."""
        touched: Iterable[Node] = level
        while touched:
            known = []
            for node in touched:
                value = None if node in self.values else certain(self.terms[node], self.values)
                if value is not None:
                    self.values[node] = value
                    known.append(node)
            touched = dict.fromkeys(user for one in known for user in self.users.get(one, ()))


def certain(term: Term, values: Mapping[Node, bool]) -> bool | None:
    """Return what a term comes to where some nodes are not known (Kleene's logic)."""
    if isinstance(term, Yes):
        return term.value
    if isinstance(term, At):
        return values.get(term.node)
    if isinstance(term, Less):
        without = certain(term.without, values)
        told = [certain(term.base, values), None if without is None else not without]
        return False if False in told else None if None in told else True
    told = [certain(one, values) for one in term.parts]
    strong = isinstance(term, Some)
    if strong in told:
        return strong
    return None if None in told else not strong


def settled(terms: Mapping[Node, Term], values: Mapping[Node, bool]) -> dict[Node, bool]:
    """Return what the well-founded model says of the nodes that circles leave open; undecided ones are missing.

    `low` holds what is true for certain and `high` what could be; each is the least model of the rules while what is
    taken away is read from the other one. They approach each other until nothing changes.
    """
    known = {one for one, value in values.items() if value}
    users: dict[Node, list[Node]] = {}
    for node, term in terms.items():
        for one in nodes_of(term):
            users.setdefault(one, []).append(node)
    low = known
    for _ in range(ROUNDS_MAX):
        high = _least(terms, users, known, without=low)
        higher = _least(terms, users, known, without=high)
        if higher == low:
            return {one: one in low for one in terms if one in low or one not in high}
        low = higher
    raise TooLargeError("The circles of relationships are too many to be followed.")


def _least(
    terms: Mapping[Node, Term],
    users: Mapping[Node, Sequence[Node]],
    known: set[Node],
    *,
    without: set[Node],
) -> set[Node]:
    holds = set(known)
    touched: Iterable[Node] = terms
    while touched:
        new = [one for one in touched if one not in holds and _true(terms[one], holds, without)]
        holds.update(new)
        touched = dict.fromkeys(user for one in new for user in users.get(one, ()))
    return holds


def _true(term: Term, holds: set[Node], without: set[Node]) -> bool:
    if isinstance(term, Yes):
        return term.value
    if isinstance(term, At):
        return term.node in holds
    if isinstance(term, Less):
        return _true(term.base, holds, without) and not _true(term.without, without, holds)
    each = (_true(one, holds, without) for one in term.parts)
    return any(each) if isinstance(term, Some) else all(each)


def _leaves(rule: Rule) -> Iterable[Rule]:
    if isinstance(rule, AnyOf | AllOf):
        for one in rule.parts:
            yield from _leaves(one)
    elif isinstance(rule, Except):
        yield from _leaves(rule.base)
        yield from _leaves(rule.without)
    else:
        yield rule


def nodes_of(term: Term) -> Iterable[Node]:
    """Yield the nodes that a term names."""
    if isinstance(term, At):
        yield term.node
    elif isinstance(term, Some | Every):
        for one in term.parts:
            yield from nodes_of(one)
    elif isinstance(term, Less):
        yield from nodes_of(term.base)
        yield from nodes_of(term.without)
