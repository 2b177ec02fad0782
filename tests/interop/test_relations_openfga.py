"""The same models, relationships and questions, asked of the own search and of a real OpenFGA server."""

import random

import pytest
from tests.interop.relation_peers import answers, running_openfga
from tests.relation_rig import OBJECTS, USERS, kind_of, random_model, random_tuples, search_in

from hive.core.errors import BadInputError, ConflictError
from hive.security.relations.drivers.openfga import OpenFgaRelations
from hive.security.relations.dsl import text_of
from hive.security.relations.dsl_json import read_model
from hive.security.relations.ports import (
    RelationChange,
    RelationFilter,
    RelationOpening,
    Relationship,
)

pytestmark = [pytest.mark.anyio, pytest.mark.peers]
WORLDS = 25
QUESTIONS = 40


def opened(url: str, store: str):
    opening = RelationOpening(url=f"{url}?store={store}", database=None, timeout_s=30)
    return OpenFgaRelations.open(opening)


async def test_own_search_and_openfga_say_the_same():
    seen = {"yes": 0, "no": 0, "undecided": 0, "stricter there": 0, "model refused there": 0}
    with running_openfga() as url:
        await answers(url)
        for seed in range(WORLDS):
            dice = random.Random(1000 + seed)
            model = random_model(dice)
            tuples = random_tuples(dice, model, dice.randint(5, 40))
            async with opened(url, f"world-{seed}") as server:
                try:
                    await server.load_model(text_of(model))
                except BadInputError:
                    seen["model refused there"] += 1
                    continue
                assert read_model(await server.model()) == model
                await server.write(RelationChange(added=tuple(tuples)))
                for _ in range(QUESTIONS):
                    subject, one = dice.choice(USERS), dice.choice(OBJECTS)
                    relation = dice.choice([*model.types[kind_of(one)]])
                    own = (await search_in(model, tuples, subject).decide((one, relation)))[
                        one, relation
                    ]
                    there = await server.check(Relationship(one, relation, subject))
                    if own is None:
                        # It stands on its own absence: no side may say yes.
                        assert not there.allowed, (seed, one, relation, subject)
                        seen["undecided"] += 1
                    elif own and not there.allowed:
                        seen["stricter there"] += 1
                    else:
                        assert own == there.allowed, (seed, one, relation, subject)
                        seen["yes" if own else "no"] += 1
    # A circle of plain membership under `but not` is a no there, whatever stands beside it.
    assert seen["stricter there"] <= WORLDS * QUESTIONS / 50, seen
    assert seen["model refused there"] == 0
    assert seen["yes"] > 50, seen
    assert seen["no"] > 50, seen


MODEL = """model
  schema 1.1
type user
type group
  relations
    define member: [user, group#member]
type document
  relations
    define viewer: [user, user:*, group#member]
"""


async def test_writes_lists_and_conditions_hold_there_as_well():
    ann = Relationship("group:staff", "member", "user:ann")
    shared = Relationship("document:plan", "viewer", "group:staff#member")
    with running_openfga() as url:
        await answers(url)
        async with opened(url, "house") as server:
            with pytest.raises(BadInputError, match="no model"):
                await server.check(ann)
            await server.load_model(MODEL)
            await server.write(RelationChange(added=(ann, shared)))
            await server.write(RelationChange(added=(ann,)))
            with pytest.raises(ConflictError):
                await server.write(RelationChange(added=(ann,), absent=(ann,)))
            with pytest.raises(BadInputError, match="precondition"):
                await server.write(RelationChange(added=(ann,), absent=(shared,)))
            with pytest.raises(BadInputError):
                await server.write(RelationChange(added=(Relationship("group:a", "x", "user:a"),)))
            seen = Relationship("document:plan", "viewer", "user:ann")
            found = await server.check(seen)
            assert found.allowed
            assert found.revision.startswith("openfga:")
            assert (await server.objects("document", "viewer", "user:ann")).objects == (
                "document:plan",
            )
            assert await server.tuples(RelationFilter(object="document:")) == [shared]
            assert "group:staff#member" in " ".join((await server.explain(seen)).lines)
            await server.write(RelationChange(removed=(ann,), present=(ann,)))
            assert not (await server.check(seen)).allowed
        async with opened(url, "house") as again:
            assert await again.tuples(RelationFilter()) == [shared]
