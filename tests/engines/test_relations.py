"""Relationships in the node's own database: revisions, conditions of writes, lists, models, and the same answers as in memory."""

import random

import anyio
import pytest
from tests.relation_rig import (
    OBJECTS,
    USERS,
    kind_of,
    random_model,
    random_tuples,
    search_in,
)

from hive.core.errors import BadInputError, ConflictError
from hive.engines import load_migrations
from hive.security.relations import (
    RelationBook,
    RelationChange,
    RelationFilter,
    Relationship,
)
from hive.security.relations.drivers.postgresql import UNDECIDED, PostgresqlRelations
from hive.security.relations.dsl import text_of
from hive.security.relations.dsl_json import json_of, read_model

pytestmark = pytest.mark.anyio
MODEL = """model
  schema 1.1
type user
type agent
type group
  relations
    define member: [user, agent, group#member]
type folder
  relations
    define owner: [user]
type document
  relations
    define parent: [folder]
    define blocked: [user, document#viewer]
    define viewer: [user, user:*, group#member] or owner from parent
    define reader: viewer but not blocked
"""
STAFF = Relationship("document:plan", "viewer", "group:staff#member")
ANN = Relationship("group:staff", "member", "user:ann")


@pytest.fixture
def migrations():
    return load_migrations("hive.security")


@pytest.fixture
async def here(database):
    made = PostgresqlRelations(database, timeout_s=30)
    await made.load_model(MODEL)
    return made


async def may(relations, of: str, relation: str, subject: str) -> bool:
    found = await relations.check(Relationship(of, relation, subject))
    assert not found.fault, found
    return found.allowed


async def test_the_database_says_what_memory_says(database):
    here = PostgresqlRelations(database, timeout_s=30)
    told = []
    for seed in range(12):
        dice = random.Random(seed)
        model = random_model(dice)
        old = await here.tuples(RelationFilter())
        tuples = random_tuples(dice, model, dice.randint(5, 40))
        await here.load_model(json_of(model).decode())
        if old:
            await here.write(RelationChange(removed=tuple(old)))
        await here.write(RelationChange(added=tuple(tuples)))
        for _ in range(25):
            subject, one = dice.choice(USERS), dice.choice(OBJECTS)
            relation = dice.choice([*model.types[kind_of(one)]])
            own = (await search_in(model, tuples, subject).decide((one, relation)))[one, relation]
            found = await here.check(Relationship(one, relation, subject))
            assert found.allowed == (own is True)
            assert (found.fault == UNDECIDED) == (own is None)
            told.append(own)
        for relation in ("viewer", "may"):
            listed = await here.objects("document", relation, subject)
            whole = await search_in(model, tuples, subject).decide(
                *((one, relation) for one in OBJECTS if kind_of(one) == "document")
            )
            assert listed.objects == tuple(sorted(one for (one, _), yes in whole.items() if yes))
            assert listed.complete == (None not in whole.values())
    assert told.count(True) > 20
    assert told.count(False) > 20


async def test_a_write_counts_from_its_revision_on_and_a_removal_at_once(here):
    first = await here.write(RelationChange(added=(STAFF, ANN)))
    assert await may(here, "document:plan", "reader", "user:ann")
    assert (await here.write(RelationChange(added=(ANN,)))) == first
    second = await here.write(RelationChange(removed=(ANN,)))
    assert int(second) == int(first) + 1
    found = await here.check(Relationship("document:plan", "reader", "user:ann"), at=second)
    assert not found.allowed
    assert found.revision == second


async def test_a_condition_that_does_not_hold_changes_nothing(here):
    first = await here.write(RelationChange(added=(ANN,)))
    refused = (
        RelationChange(added=(STAFF,), absent=(ANN,)),
        RelationChange(added=(STAFF,), present=(STAFF,)),
        RelationChange(added=(STAFF,), at=str(int(first) - 1)),
        RelationChange(added=(STAFF,), at=str(int(first) + 1)),
    )
    for change in refused:
        with pytest.raises(ConflictError):
            await here.write(change)
    assert await here.tuples(RelationFilter()) == [ANN]
    await here.write(RelationChange(added=(STAFF,), removed=(ANN,), present=(ANN,), at=first))
    assert await here.tuples(RelationFilter(object="document:")) == [STAFF]


async def test_of_two_writes_bound_to_one_revision_one_wins(here):
    at = await here.write(RelationChange(added=(ANN,)))
    won = []

    async def write(name: str) -> None:
        one = Relationship("group:staff", "member", f"user:{name}")
        try:
            won.append(await here.write(RelationChange(added=(one,), at=at)))
        except ConflictError:
            won.append("")

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for name in ("bob", "cy", "dan"):
                tasks.start_soon(write, name)
    assert sorted(map(bool, won)) == [False, False, True]


async def test_what_a_new_model_does_not_allow_counts_no_more(here):
    everybody = Relationship("document:plan", "viewer", "user:*")
    await here.write(RelationChange(added=(everybody,)))
    assert await may(here, "document:plan", "viewer", "user:zoe")
    await here.load_model(MODEL.replace("user, user:*, group", "user, group"))
    assert not await may(here, "document:plan", "viewer", "user:zoe")
    with pytest.raises(BadInputError, match="does not allow"):
        await here.write(RelationChange(added=(everybody,)))


@pytest.mark.parametrize(
    "wrong",
    [
        Relationship("document:plan", "reader", "user:ann"),
        Relationship("document:plan", "viewer", "folder:f"),
        Relationship("paper:plan", "viewer", "user:ann"),
        Relationship("document:plan", "seer", "user:ann"),
        Relationship("group:a", "member", "group:a#member"),
        Relationship("document:*", "viewer", "user:ann"),
        Relationship("document:a b", "viewer", "user:ann"),
    ],
)
async def test_what_the_model_does_not_allow_is_not_written(here, wrong):
    with pytest.raises(BadInputError):
        await here.write(RelationChange(added=(wrong,)))
    assert await here.tuples(RelationFilter()) == []


async def test_an_explanation_names_what_took_part(here):
    await here.write(RelationChange(added=(STAFF, ANN)))
    told = await here.explain(Relationship("document:plan", "reader", "user:ann"))
    assert told.decision.allowed
    assert told.lines[0].startswith("yes document:plan#reader")
    assert any("group:staff#member" in line and "written down" in line for line in told.lines)


async def test_every_change_is_on_record_and_a_refused_one_is_told(here):
    told = []

    async def emit(name, body):
        told.append((name, body))

    book = RelationBook(here, emit=emit)
    await book.write(RelationChange(added=(ANN, STAFF)), by="operator:ann")
    await book.write(RelationChange(removed=(ANN,)), by="operator:ann")
    with pytest.raises(ConflictError):
        await book.write(RelationChange(removed=(ANN,), present=(ANN,)), by="operator:ann")
    await book.load_model(MODEL, by="operator:ann")
    assert [name for name, _ in told] == [
        "relation.written",
        "relation.removed",
        "relation.removed",
        "relation.failed",
        "relation.model_loaded",
    ]
    assert told[0][1]["relationships"] == [str(ANN), str(STAFF)]
    assert text_of(read_model(await book.model())) == text_of(read_model(MODEL))
