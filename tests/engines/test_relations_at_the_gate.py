"""Relationships as facts of the policy, at the gate of a real kernel: asked before the rules, recorded, refused where unknown."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.engines.test_policy_at_the_gate import MAIN, Asker, bodies, done
from tests.kernel_rig import Stage, deploy, running_kernel, send
from tests.policy_rig import named, rego

from hive.core.errors import PolicyError
from hive.engines import Migration, load_migrations
from hive.node.build import SCHEMAS
from hive.security.policy import question_again
from hive.security.policy.bundle import bundle_of
from hive.security.relations import RelationChange, Relationship
from hive.security.relations.drivers.postgresql import PostgresqlRelations

pytestmark = pytest.mark.anyio
MODEL = """model
  schema 1.1
type agent
type model
  relations
    define user: [agent]
"""
ASKED = '{"ask": {"may_use": {"object": "model:{target}", "relation": "user", "subject": "agent:{agent}"}}}'
RULES = 'deny contains "not yours" if not input.relations.may_use'


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


def bundle(asked: str = ASKED):
    made = rego(RULES, package="hive.rules.ask")
    files = {**made.files, "main.rego": MAIN.encode(), "relations.json": asked.encode()}
    return named(replace(made, files=files), 1)


async def ask_twice(database, tmp_path, *, relations, between) -> Asker:
    asker = Asker()
    async with running_kernel(database, tmp_path, Stage(play=asker.play)) as kernel:
        asker.kernel = kernel
        policies = kernel.guards.policies
        await policies._policy.load(bundle().archive(), by="test")
        policies.relations = relations
        await deploy(kernel)
        await done(await send(kernel, "one"))
        await between()
        await done(await send(kernel, "two"))
    return asker


async def test_a_relationship_lets_an_agent_in_from_its_revision_on(database, tmp_path):
    relations = PostgresqlRelations(database, timeout_s=30)
    await relations.load_model(MODEL)

    async def relate() -> None:
        row = (await bodies(database))[0]
        one = Relationship(f"model:{row['target']}", "user", row["principal"])
        await relations.write(RelationChange(added=(one,)))

    asker = await ask_twice(database, tmp_path, relations=relations, between=relate)
    assert asker.answers == ["policy: not yours", "ok"]
    first, second = await bodies(database)
    assert first["policy"]["relations"] == {"may_use": False}
    assert second["policy"]["relations"] == {"may_use": True}
    assert int(second["policy"]["relations_at"]) > int(first["policy"]["relations_at"])
    again = question_again(second, agent="scribe", arguments=None)
    assert again.relations == {"may_use": True}


async def test_without_an_answer_no_rule_is_asked(database, tmp_path):
    async def nothing() -> None:
        return None

    # No model is loaded, so nobody can tell; and a node that keeps no relationships cannot either.
    for relations in (PostgresqlRelations(database, timeout_s=30), None):
        folder = tmp_path / str(relations is None)
        folder.mkdir()
        asker = await ask_twice(database, folder, relations=relations, between=nothing)
        said = "policy: a relationship that the policy asks for is not known"
        assert asker.answers == [said, said]


@pytest.mark.parametrize(
    "asked",
    [
        "[]",
        '{"fly": {}}',
        '{"ask": {"may": {"object": "model:{secret}", "relation": "user", "subject": "agent:x"}}}',
        '{"ask": {"may": {"object": "model:x", "relation": "{target}", "subject": "agent:x"}}}',
        '{"ask": {"may": {"object": "model:x", "relation": "user", "subject": "agent:*"}}}',
        '{"ask": {"May Use": {"object": "model:x", "relation": "user", "subject": "agent:x"}}}',
        json.dumps(
            {
                "ask": {
                    f"q{n}": {"object": "a:b", "relation": "r", "subject": "a:b"} for n in range(17)
                }
            }
        ),
    ],
)
def test_questions_that_cannot_be_asked_make_no_bundle(asked):
    files = {**rego(RULES).files, "relations.json": asked.encode()}
    with pytest.raises(PolicyError, match=r"relations\.json"):
        bundle_of(files)
