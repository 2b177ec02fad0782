"""Somebody who may write relationships, or choose a name, tries to be let in: circles, stars, chains, names, old answers.

Each attack is shown to work on a search, a name or an answer without the guard first.
"""

import pytest

from hive.core.call import Refused
from hive.core.errors import BadInputError, ConflictError, PolicyError, TooLargeError
from hive.engines import load_migrations
from hive.kernel.relations import related_facts
from hive.security.policy.related import HOLE, RelationQuestion, related_in
from hive.security.relations import RelationChange, Relationship
from hive.security.relations.drivers.postgresql import UNDECIDED, PostgresqlRelations
from hive.security.relations.dsl_json import read_model
from hive.security.relations.names import checked
from hive.security.relations.search import LEVELS_MAX, At, Less, Some, Yes
from tests.relation_rig import call_of, search_in

pytestmark = pytest.mark.anyio
MODEL = """model
  schema 1.1
type user
type agent
type group
  relations
    define member: [user, user:*, group#member]
type document
  relations
    define blocked: [user, document#reader, group#member]
    define viewer: [user, group#member]
    define reader: viewer but not blocked
"""
ANN = "user:ann"


@pytest.fixture
def migrations():
    return load_migrations("hive.security")


@pytest.fixture
async def here(database):
    made = PostgresqlRelations(database, timeout_s=30)
    await made.load_model(MODEL)
    return made


def naive(terms, node, above=()) -> bool:
    """Search as one would without three values: what is being looked at already is no."""
    if node in above:
        return False

    def value(term) -> bool:
        if isinstance(term, Yes):
            return term.value
        if isinstance(term, At):
            return naive(terms, term.node, (*above, node))
        if isinstance(term, Less):
            return value(term.base) and not value(term.without)
        return (any if isinstance(term, Some) else all)(value(one) for one in term.parts)

    return value(terms[node])


async def test_a_circle_through_a_negated_branch_lets_nobody_in(here):
    # A reader of the one is blocked on the other, and back: each could be let in by the other's absence.
    circle = {
        Relationship("document:a", "viewer", ANN),
        Relationship("document:b", "viewer", ANN),
        Relationship("document:a", "blocked", "document:b#reader"),
        Relationship("document:b", "blocked", "document:a#reader"),
        Relationship("document:c", "viewer", ANN),
        Relationship("document:c", "blocked", "document:c#reader"),
    }
    search = search_in(read_model(MODEL), circle, ANN)
    nodes = [(f"document:{name}", "reader") for name in "abc"]
    found = await search.decide(*nodes)
    assert naive(search.terms, nodes[2])  # it is let in by not being let in
    assert set(found.values()) == {None}
    await here.write(RelationChange(added=tuple(circle)))
    for of, relation in nodes:
        answer = await here.check(Relationship(of, relation, ANN))
        assert (answer.allowed, answer.fault) == (False, UNDECIDED)


async def test_a_rule_that_refuses_the_blocked_gets_no_false_no(here):
    """A policy that lets in whoever is not blocked must not take `not known` for `not blocked`."""
    circle = (
        Relationship("document:a", "viewer", ANN),
        Relationship("document:a", "blocked", "document:b#reader"),
        Relationship("document:b", "viewer", ANN),
        Relationship("document:b", "blocked", "document:a#reader"),
    )
    await here.write(RelationChange(added=circle))
    question = RelationQuestion(object="document:a", relation="blocked", subject="user:{owner}")
    assert not (await here.check(Relationship("document:a", "blocked", ANN))).allowed
    found = await related_facts(here, {"blocked": question}, call_of(owner="ann"), None, "")
    assert isinstance(found, Refused)


async def test_a_star_is_everybody_of_its_type_and_of_no_other(here):
    everybody = Relationship("group:all", "member", "user:*")
    shared = Relationship("document:plan", "viewer", "group:all#member")
    await here.write(RelationChange(added=(everybody, shared)))
    assert (await here.check(Relationship("document:plan", "viewer", "user:zoe"))).allowed
    for other in ("agent:scribe", "group:all", "group:other#member", "document:plan"):
        assert not (await here.check(Relationship("document:plan", "viewer", other))).allowed
    # Where the model does not say so, nobody can write a star down.
    star = Relationship("document:plan", "viewer", "user:*")
    with pytest.raises(BadInputError, match="does not allow"):
        await here.write(RelationChange(added=(star,)))


async def test_a_deep_chain_ends_at_a_bound_and_is_no_yes(here):
    chain = [
        Relationship(f"group:g{n}", "member", f"group:g{n + 1}#member")
        for n in range(3 * LEVELS_MAX)
    ]
    end = Relationship(f"group:g{3 * LEVELS_MAX}", "member", ANN)
    await here.write(RelationChange(added=(*chain, end)))
    search = search_in(read_model(MODEL), {*chain, end}, ANN)
    with pytest.raises(TooLargeError):
        await search.decide(("group:g0", "member"))
    found = await here.check(Relationship("group:g0", "member", ANN))
    assert not found.allowed
    assert "too deep" in found.fault
    assert (await here.check(Relationship(f"group:g{3 * LEVELS_MAX - 5}", "member", ANN))).allowed


async def test_a_wide_tree_is_read_once_and_ends_at_a_bound():
    read = []
    wide = {
        Relationship(f"group:{a}", "member", f"group:{a}{b}#member")
        for a in ("x", "xa", "xb", "xaa", "xab", "xba", "xbb")
        for b in "ab"
    }
    search = search_in(read_model(MODEL), wide, ANN)
    inner = search.read

    async def counted(*words):
        read.append(1)
        return await inner(*words)

    search.read = counted
    assert (await search.decide(("group:x", "member")))["group:x", "member"] is False
    assert len(read) <= 5
    many = {Relationship("group:x", "member", f"group:n{n}#member") for n in range(3000)}
    with pytest.raises(TooLargeError, match="widely"):
        await search_in(read_model(MODEL), many, ANN).decide(("group:x", "member"))


LOOK_ALIKES = (
    "user:\u0430nn",  # a Cyrillic a
    "user:ann\u200b",
    "user:an\u0301n",
    "user:ann ",
    "user:ann\n",
    "user:",
    "user:ann#member#member",
    "user:*#member",
    "us\u0435r:ann",
)


@pytest.mark.parametrize("subject", LOOK_ALIKES, ids=ascii)
async def test_a_name_that_looks_like_another_is_refused(here, subject):
    await here.write(RelationChange(added=(Relationship("document:plan", "viewer", ANN),)))
    asked = Relationship("document:plan", "viewer", subject)
    with pytest.raises(BadInputError):
        checked(asked)
    with pytest.raises(BadInputError):
        await here.write(RelationChange(added=(asked,)))
    with pytest.raises(BadInputError):
        await here.check(asked)


@pytest.mark.parametrize(
    "owner", ["*", "ann#member", "all#member", "", "\u0430nn", "a b"], ids=ascii
)
async def test_who_chooses_a_name_does_not_choose_what_it_means(here, owner):
    everybody = Relationship("group:all", "member", "user:*")
    await here.write(RelationChange(added=(everybody,)))
    question = RelationQuestion(object="group:all", relation="member", subject="user:{owner}")
    filled = HOLE.sub(lambda _: owner, question.subject)
    if owner == "*":  # without the guard the star itself is asked about, and it is written down
        assert (await here.check(Relationship("group:all", "member", filled))).allowed
    found = await related_facts(here, {"in": question}, call_of(owner=owner), None, "")
    assert isinstance(found, Refused)


@pytest.mark.parametrize("hole", ["{arguments.id}", "{target}:x", "{owner}:{owner}"])
def test_a_call_cannot_choose_a_type(hole):
    text = f'{{"invoke": {{"may": {{"object": "{hole}", "relation": "viewer", "subject": "user:x"}}}}}}'
    with pytest.raises(PolicyError, match="begin with their type"):
        related_in(text.encode())


async def test_an_answer_from_before_a_removal_is_not_given_again(here):
    shared = Relationship("document:plan", "viewer", ANN)
    await here.write(RelationChange(added=(shared,)))
    assert (await here.check(shared)).allowed  # and is kept
    kept = dict(here._cache)
    removed = await here.write(RelationChange(removed=(shared,)))
    assert any(found.allowed for found in kept.values())
    assert kept.keys() <= here._cache.keys()  # the old answer is still there, under its revision
    assert not (await here.check(shared, at=removed)).allowed


async def test_a_database_that_went_back_in_time_answers_nothing(here, database):
    shared = Relationship("document:plan", "viewer", ANN)
    before = await here.write(RelationChange(added=(shared,)))
    removed = await here.write(RelationChange(removed=(shared,)))
    assert not (await here.check(shared, at=removed)).allowed
    await database.execute("UPDATE relation_head SET revision = $1", int(before))
    fresh = PostgresqlRelations(database, timeout_s=30)
    assert (await fresh.check(shared)).allowed  # whoever knows no revision is let in again
    with pytest.raises(ConflictError, match="older"):
        await fresh.check(shared, at=removed)
    with pytest.raises(ConflictError, match="older"):
        await here.check(shared)
