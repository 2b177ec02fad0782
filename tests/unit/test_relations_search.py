"""The search against the slow reference, on models and tuples as the dice fall, and by hand where circles meet `but not`."""

import random

import pytest

from tests.relation_rig import (
    OBJECTS,
    USERS,
    SlowRelations,
    kind_of,
    random_model,
    random_tuples,
    search_in,
)

pytestmark = pytest.mark.anyio
WORLDS = 150


@pytest.mark.parametrize("part", range(4))
async def test_search_and_reference_say_the_same(part):
    seen = {True: 0, False: 0, None: 0}
    for seed in range(part * WORLDS, (part + 1) * WORLDS):
        dice = random.Random(seed)
        model = random_model(dice)
        tuples = random_tuples(dice, model, dice.randint(5, 40))
        subject = dice.choice([*USERS, "group:a#member", "user:*"])
        reference = SlowRelations(model, tuples, subject)
        shared = search_in(model, tuples, subject)
        for one in OBJECTS:
            for relation in model.types[kind_of(one)]:
                node = (one, relation)
                expected = (
                    True if node in reference.true else False if node in reference.false else None
                )
                found = (await search_in(model, tuples, subject).decide(node))[node]
                assert found is expected, (seed, node, subject, found, expected)
                assert (await shared.decide(node))[node] is expected, (seed, node, "shared")
                seen[expected] += 1
    assert min(seen.values()) > 20, seen
