"""Providers and routes of a node on a real database: they survive a restart, and hold at once without one."""

import contextlib
from functools import partial

import pytest
from anyio import create_task_group, fail_after
from tests.model_routing_rig import chat, said

from hive.core.clock import SystemClock
from hive.core.errors import (
    BadInputError,
    ConfigError,
    ConflictError,
    InvalidIdError,
    NotFoundError,
    StateError,
    UnknownSchemeError,
)
from hive.core.randomness import SystemRandomness
from hive.core.secret import Secret
from hive.core.settings import Settings
from hive.engines import load_migrations
from hive.node.llm import NodeModels, opened_models
from hive.node.secrets import NodeSecrets
from hive.security.vault import Vault
from hive.testing.model_provider import ModelProvider, ProviderFault
from hive.web.llm import LlmOrder, LlmRoute

pytestmark = pytest.mark.anyio
KEY = "sk-real-key-of-the-operator"


@pytest.fixture
def migrations():
    return [*load_migrations("hive.security"), *load_migrations("hive.protocols.models")]


@pytest.fixture
async def provider():
    return ModelProvider(key=KEY)


@pytest.fixture
async def url(provider):
    async with provider.serving() as url:
        yield url


@pytest.fixture
def notes():
    return []


@pytest.fixture
def node(database, notes):
    """Open the models of a node; each opening is a start."""

    @contextlib.asynccontextmanager
    async def start(**settings):
        clock, randomness = SystemClock(), SystemRandomness()

        async def note(name, body):
            notes.append((name, body))

        models = NodeModels(
            settings=Settings(**{"ollama_url": "", **settings}),
            database=database,
            vault=Vault(
                database=database, master_key=b"m" * 32, clock=clock, randomness=randomness
            ),
            note=note,
            clock=clock,
            randomness=randomness,
        )
        with fail_after(30):
            async with opened_models(models):
                yield models

    return start


async def test_what_was_added_and_routed_is_there_after_a_restart(node, provider, url):
    async with node() as models:
        order = LlmOrder(
            name="a", url=f"openai:{url}/v1", key=KEY, options={"wires": "chat", "idle_s": 9}
        )
        made = await models.add(order)
        assert (made.wires, made.models) == (["chat"], ["small", "large"])
        await models.use(LlmRoute(alias="fast", targets=["a/small"]))
        assert (await said(models.router, chat("fast")))[0] == 200
    async with node() as models:
        status, _, answer = await said(models.router, chat("fast"))
        assert (status, answer.upstream, answer.model) == (200, "a", "small")
        [_, kept] = (await models.overview()).providers
        assert kept.options == {"wires": "chat", "idle_s": 9.0}
        assert KEY not in repr(await models.overview())


async def test_a_key_is_in_the_vault_and_nowhere_else_in_the_database(node, url, database, notes):
    async with node() as models:
        await models.add(LlmOrder(name="a", url=f"openai:{url}/v1", key=KEY))
        for table in ("model_upstream", "model_route", "vault_secret", "vault_key"):
            rows = await database.fetch(f"SELECT t::text AS row FROM {table} t")
            assert KEY not in repr(rows)
            assert KEY.encode().hex() not in repr(rows)
        assert [one.name for one in await models.vault.list()] == ["llm-a"]
        await models.remove("a")
        assert await models.vault.list() == []
    assert [name for name, _ in notes] == ["llm.added", "llm.removed"]
    assert KEY not in repr(notes)


async def test_a_new_value_of_a_secret_holds_at_once_and_calls_under_way_keep_theirs(
    node, provider, url
):
    async with node() as models:
        secrets = NodeSecrets(models)
        await secrets.put("shared", Secret("sk-the-wrong-one"))
        await models.add(LlmOrder(name="a", url=f"openai:{url}/v1", secret="shared"))
        tried = await models.try_one("a", "small")
        assert not tried.ok
        assert "secret set shared" in tried.fix
        await secrets.put("shared", Secret(KEY))
        assert (await models.try_one("a", "")).ok
        provider.then(ProviderFault(hang="middle"))
        got = []
        async with create_task_group() as tasks:
            asking = partial(said, models.router, chat("a/small", stream=True))

            async def ask():
                got.append(await asking())

            tasks.start_soon(ask)
            await provider.hanging.wait()
            await secrets.put("shared", Secret("sk-another-wrong-one"))
            assert (await said(models.router, chat("a/small")))[0] == 502
            provider.release()
        assert got[0][1].endswith(b"[DONE]\n\n")
        with pytest.raises(StateError, match="in use"):
            await secrets.remove("shared")
        [line] = await secrets.lines()
        assert line.used_by == ["a"]


async def test_a_provider_that_cannot_be_opened_does_not_stop_the_start(node, url):
    async with node() as models:
        await models.add(LlmOrder(name="a", url=f"openai:{url}/v1", key=KEY))
        await models.vault.remove("llm-a")
    async with node() as models:
        [default, broken] = (await models.overview()).providers
        assert (default.state, broken.state) == ("ready", "broken")
        assert "llm-a" in broken.problem
        await models.use(LlmRoute(alias="fast", targets=["a/small", "default/scripted"]))
        status, _, answer = await said(models.router, chat("fast"))
        assert (status, answer.upstream) == (200, "default")
        await NodeSecrets(models).put("llm-a", Secret(KEY))
        assert (await said(models.router, chat("fast")))[2].upstream == "a"


async def test_a_route_is_changed_and_taken_away_while_the_node_runs(node, url):
    async with node() as models:
        await models.add(LlmOrder(name="a", url=f"openai:{url}/v1", key=KEY))
        await models.use(LlmRoute(alias="fast", targets=["a/small"]))
        with pytest.raises(StateError, match="in use"):
            await models.remove("a")
        await models.use(LlmRoute(alias="fast", targets=["default/scripted"]))
        assert models.router.resolve("fast")[0].live.name == "default"
        await models.remove("a")
        await models.use(LlmRoute(alias="fast"))
        assert models.router.routes() == ()
        with pytest.raises(NotFoundError):
            await models.use(LlmRoute(alias="fast"))
        with pytest.raises(NotFoundError):
            await models.use(LlmRoute(alias="fast", targets=["gone/x"]))
        for alias, targets in (
            ("a*b", ["default"]),
            ("", ["default"]),
            ("x", ["/y"]),
            ("x", ["a/"]),
        ):
            with pytest.raises(BadInputError):
                await models.use(LlmRoute(alias=alias, targets=targets))


@pytest.mark.parametrize(
    ("order", "error"),
    [
        (LlmOrder(name="openai"), ConfigError),
        (LlmOrder(name="a", url="https://models.example.org"), UnknownSchemeError),
        (LlmOrder(name="a", url="openai:http://models.example.org/v1", key=KEY), ConfigError),
        (LlmOrder(name="a", url="openai:http://169.254.169.254/v1"), ConfigError),
        (LlmOrder(name="a", url="vllm", secret="missing"), NotFoundError),
        (LlmOrder(name="a", url="vllm", options={"nonsense": 1}), ConfigError),
        (LlmOrder(name="a", url="vllm", options={"idle_s": -1}), ConfigError),
        (LlmOrder(name="a", url="vllm", options={"wires": "telepathy"}), ConfigError),
        (LlmOrder(name="a", url=f"openai:https://models.example.org/v1?key={KEY}"), ConfigError),
        (LlmOrder(name="default", url="vllm"), InvalidIdError),
        (LlmOrder(name="A/b", url="vllm"), InvalidIdError),
    ],
)
async def test_an_order_that_cannot_work_leaves_nothing_behind(node, order, error):
    async with node() as models:
        with pytest.raises(error) as caught:
            await models.add(order)
        assert KEY not in f"{caught.value} {caught.value.fix}"
        assert [one.name for one in (await models.overview()).providers] == ["default"]
        assert await models.vault.list() == []


async def test_a_name_is_taken_once(node):
    async with node() as models:
        await models.add(LlmOrder(name="vllm"))
        with pytest.raises(ConflictError):
            await models.add(LlmOrder(name="vllm", key=KEY))
        assert await models.vault.list() == []
        with pytest.raises(StateError, match="not added"):
            await models.remove("default")


async def test_ollama_is_found_and_answers_only_who_names_it(node, provider, url):
    provider.key = ""
    provider.models = ("gpt-4o", "llama")
    async with node(ollama_url=url) as models, create_task_group() as tasks:
        tasks.start_soon(models.look_around)
        with fail_after(10):
            while not models.router.routes() and len(models.router.states()) < 2:
                await models.names()
        await models.router.models()
        assert models.router.resolve("gpt-4o")[0].live.name == "default"
        status, _, answer = await said(models.router, chat("ollama/llama"))
        assert (status, answer.upstream, answer.model) == (200, "ollama", "llama")
        assert provider.seen[-1].path == "/v1/chat/completions"
        tasks.cancel_scope.cancel()


async def test_the_doctor_names_each_provider(node, url):
    async with node() as models:
        await models.add(LlmOrder(name="a", url=f"openai:{url}/v1", key=KEY))
        await models.add(LlmOrder(name="gone", url="openai:http://127.0.0.1:9/v1"))
        found = {one.name: one.state for one in await models.findings()}
    assert found == {"default": "info", "a": "ok", "gone": "unverified"}


async def test_a_node_with_made_up_answers_alone_says_so_until_a_provider_is_added(node):
    async with node() as models:
        told = []
        models.on_change = lambda: told.append(models.only_scripted)
        assert models.only_scripted
        assert [one.state for one in await models.findings()] == ["degraded"]
        await models.add(LlmOrder(name="vllm"))
        await models.remove("vllm")
        assert told == [False, True]
