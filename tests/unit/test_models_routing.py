"""Where a model's name leads, and what happens when nobody answers there."""

import json
from dataclasses import replace

import anyio
import pytest
from anyio import create_task_group, fail_after

from hive.core.errors import ConfigError, EngineTimeoutError, EngineUnavailableError, NotFoundError
from hive.protocols.models.ports import Dialect, RoutedAnswer
from hive.protocols.models.routing import PRESETS
from hive.protocols.models.routing.options import read_options
from hive.protocols.models.routing.retry import RetryBudget
from hive.testing.clock import StoppedClock
from hive.testing.model_provider import ModelProvider, ProviderAnswer, ProviderFault
from tests.model_routing_rig import chat, route, routing, said, upstream

pytestmark = pytest.mark.anyio
GEMINI_LIMITED = {
    "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
    "generationConfig": {"maxOutputTokens": 7},
}


@pytest.fixture
async def one():
    return ModelProvider(models=("small", "large"), answer=ProviderAnswer(pieces=("one",)))


@pytest.fixture
async def two():
    return ModelProvider(models=("big", "small"), answer=ProviderAnswer(pieces=("two",)))


@pytest.fixture
async def urls(one, two):
    async with one.serving() as first, two.serving() as second:
        yield f"openai:{first}/v1", f"openai:{second}/v1"


def text(body):
    return json.loads(body)["choices"][0]["message"]["content"]


async def test_an_alias_leads_to_the_model_of_its_target_and_nothing_else_changes(one, urls):
    rows = upstream("a", urls[0]), upstream("b", urls[1])
    async with routing(*rows, routes=[route("fast", "a/large")]) as router:
        tools = [{"type": "function", "function": {"name": "z", "parameters": {"b": 1, "a": 2}}}]
        status, body, answer = await said(router, chat("fast", tools=tools))
    assert (status, text(body)) == (200, "one")
    assert isinstance(answer, RoutedAnswer)
    assert (answer.upstream, answer.model, answer.unsure) == ("a", "large", 0)
    assert one.seen[0].document["model"] == "large"
    # The order of keys is part of what a model reads of a tool.
    assert json.dumps(one.seen[0].document["tools"]) == json.dumps(tools)


async def test_a_request_whose_name_stays_passes_byte_for_byte(one, urls):
    async with routing(upstream("default", urls[0])) as router:
        request = chat("small", odd=1.0)
        await said(router, request)
    assert one.seen[0].body == request.body


@pytest.mark.parametrize(
    ("asked", "whom", "model"),
    [
        ("fast", "b", "big"),
        ("b/anything", "b", "anything"),
        ("b/with/slash", "b", "with/slash"),
        ("claude-x", "a", "claude-x"),
        ("claude-special-y", "b", "claude-special-y"),
        ("nobody/knows", "default", "nobody/knows"),
        ("whatever", "default", "whatever"),
    ],
)
async def test_names_are_resolved_exactly_then_by_provider_then_by_the_longest_beginning(
    urls, asked, whom, model
):
    rows = upstream("default", urls[0]), upstream("a", urls[0]), upstream("b", urls[1])
    routes = [route("fast", "b/big"), route("claude-*", "a"), route("claude-special-*", "b")]
    async with routing(*rows, routes=routes) as router:
        [target] = router.resolve(asked)
    assert (target.live.name, target.model) == (whom, model)


async def test_a_provider_that_lists_a_model_gets_it_and_one_that_was_only_found_does_not(urls):
    rows = upstream("default", urls[0]), upstream("b", urls[1])
    async with routing(*rows) as router:
        await router.models()
        assert router.resolve("big")[0].live.name == "b"
        await router.add(upstream("b", urls[1]), trusted=False)
        await router.models()
        assert router.resolve("big")[0].live.name == "default"
        assert router.resolve("b/big")[0].live.name == "b"


async def test_a_real_provider_takes_the_place_of_made_up_answers(urls):
    async with routing(upstream("default", "scripted:")) as router:
        assert router.resolve("gpt-x")[0].live.name == "default"
        await router.add(upstream("a", urls[0]))
        await router.models()
        assert router.resolve("gpt-x")[0].live.name == "a"
        assert router.resolve("scripted")[0].live.name == "default"
        router.use([route("*", "default")])
        assert router.resolve("gpt-x")[0].live.name == "default"


async def test_names_are_listed_with_their_provider_where_there_are_more(urls):
    async with routing(upstream("a", urls[0]), routes=[route("fast", "a/large")]) as router:
        assert await router.models() == ["fast", "small", "large"]
        await router.add(upstream("b", urls[1]))
        router.use([route("fast", "a/large"), route("x-*", "b")])
        assert await router.models() == ["fast", "a/small", "a/large", "b/big", "b/small"]


async def test_a_model_that_nobody_serves_is_not_found_in_the_clients_words(urls):
    async with routing(upstream("a", urls[0])) as router:
        status, body, _ = await said(router, chat("zzz", dialect=Dialect.MESSAGES))
        assert status == 404
        assert json.loads(body)["type"] == "error"
        with pytest.raises(NotFoundError):
            router.use([route("fast", "nobody/x")])


FAULTS = {
    "overloaded": ProviderFault(status=529),
    "too many": ProviderFault(status=429, retry_after="30"),
    "out of order": ProviderFault(status=503),
    "reset before a byte": ProviderFault(reset="before"),
    "reset after the head of an error": ProviderFault(status=500, body=b""),
    "a wrong key": ProviderFault(status=401),
    "no such model": ProviderFault(status=404, message="The model does not exist"),
    "slow": ProviderFault(hang="before"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_the_next_target_answers_where_one_fails_before_its_first_byte(one, two, urls, fault):
    one.fault = fault
    rows = upstream("a", urls[0], first_byte_s=0.2), upstream("b", urls[1])
    async with routing(*rows, routes=[route("fast", "a/small", "b/big")]) as router:
        _, body, answer = await said(router, chat("fast"))
    assert text(body) == "two"
    assert (answer.upstream, one.asked, two.asked) == ("b", 1, 1)
    assert answer.unsure == (1 if fault.reset or fault.hang else 0)


async def test_nobody_else_is_asked_once_an_answer_has_begun(one, two, urls):
    one.fault = ProviderFault(reset="middle")
    rows = upstream("a", urls[0]), upstream("b", urls[1])
    async with routing(*rows, routes=[route("fast", "a/small", "b/big")]) as router:
        with pytest.raises(EngineUnavailableError):
            await said(router, chat("fast", stream=True))
    assert two.asked == 0


async def test_a_request_that_is_wrong_goes_to_nobody_else(one, two, urls):
    one.fault = ProviderFault(status=400, message="bad field")
    rows = upstream("a", urls[0]), upstream("b", urls[1])
    async with routing(*rows, routes=[route("fast", "a/small", "b/big")]) as router:
        status, body, _ = await said(router, chat("fast"))
    assert (status, two.asked, one.asked) == (400, 0, 1)
    assert b"bad field" in body


async def test_the_same_provider_is_asked_again_where_it_did_no_work(one, urls):
    one.then(ProviderFault(status=429, retry_after="0"), ProviderFault(status=503))
    async with routing(upstream("a", urls[0])) as router:
        status, _, answer = await said(router, chat("a/small"))
    assert (status, one.asked, answer.unsure) == (200, 3, 0)


async def test_a_question_that_may_have_been_billed_is_not_asked_again(one, urls):
    one.fault = ProviderFault(reset="before")
    async with routing(upstream("a", urls[0])) as router:
        with pytest.raises(EngineUnavailableError):
            await said(router, chat("a/small"))
    assert one.asked == 1


async def test_a_provider_that_wants_a_long_rest_is_told_to_the_client_at_once(one, urls):
    one.fault = ProviderFault(status=429, retry_after="40", message="quota")
    async with routing(upstream("a", urls[0])) as router:
        with fail_after(2):
            status, body, answer = await said(router, chat("a/small"))
    assert (status, one.asked, answer.head.header("retry-after")) == (429, 1, "40")
    assert b"quota" in body


async def test_a_provider_that_rests_is_passed_over_while_another_can_answer(one, two, urls):
    one.then(ProviderFault(status=429, retry_after="40"))
    rows = upstream("a", urls[0]), upstream("b", urls[1])
    async with routing(*rows, routes=[route("fast", "a/small", "b/big")]) as router:
        for _ in range(3):
            await said(router, chat("fast"))
    assert (one.asked, two.asked) == (1, 3)


async def test_retries_stay_a_share_of_the_questions():
    clock = StoppedClock()
    budget = RetryBudget(clock=clock)
    granted = 0
    for _ in range(1000):
        budget.deposit()
        granted += budget.withdraw()
    assert granted == 10 + 200 - 1  # the reserve, and a fifth of all, rounded by floating point
    clock.advance(3600)
    assert [budget.withdraw() for _ in range(11)] == [True] * 10 + [False]


async def test_retries_end_with_their_budget(one, urls):
    one.fault = ProviderFault(status=503, retry_after="0")
    async with routing(upstream("a", urls[0])) as router:
        while router._budget.withdraw():
            pass
        await said(router, chat("a/small"))
    assert one.asked == 1


async def test_a_provider_that_keeps_failing_is_left_alone_and_tried_again_by_one(one, urls):
    one.fault = ProviderFault(reset="before")
    async with routing(upstream("a", urls[0])) as router:
        for _ in range(5):
            with pytest.raises(EngineUnavailableError):
                await said(router, chat("a/small"))
        status, body, answer = await said(router, chat("a/small"))
        assert (status, json.loads(body)["error"]["code"]) == (503, "hive.upstream_resting")
        assert int(answer.head.header("retry-after")) >= 1
        assert one.asked == 5
        breaker = router.live("a").breaker
        assert breaker.state == "open"
        breaker._until = 0.0
        one.fault = ProviderFault(hang="before")
        async with create_task_group() as tasks:
            tasks.start_soon(said, router, chat("a/small"))
            await one.hanging.wait()
            assert breaker.state == "half-open"
            status, _, _ = await said(router, chat("a/small"))
            assert status == 503
            one.release()
        assert breaker.state == "closed"


async def test_a_probe_whose_client_left_lets_the_next_one_try(one, urls):
    async with routing(upstream("a", urls[0])) as router:
        breaker = router.live("a").breaker
        breaker._until = 0.0
        one.then(ProviderFault(hang="before"))
        async with create_task_group() as tasks:
            tasks.start_soon(said, router, chat("a/small"))
            await one.hanging.wait()
            tasks.cancel_scope.cancel()
        status, _, _ = await said(router, chat("a/small"))
        assert (status, breaker.state) == (200, "closed")


async def test_no_more_questions_than_allowed_run_at_once_and_the_queue_ends(one, urls):
    one.fault = ProviderFault(hang="before")
    statuses = []
    async with routing(upstream("a", urls[0], concurrent_max=2, queue_max=1)) as router:

        async def ask():
            status, _, _ = await said(router, chat("a/small"))
            statuses.append(status)

        async with create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
            with fail_after(5):
                while router.live("a").slots.waiting < 1 or one.concurrent < 2:
                    await anyio.lowlevel.checkpoint()
            status, body, answer = await said(router, chat("a/small"))
            assert (status, json.loads(body)["error"]["code"]) == (429, "hive.upstream_busy")
            assert answer.head.header("retry-after") == "1"
            one.release()
    assert statuses == [200, 200, 200]
    assert one.concurrent_most == 2


async def test_a_stream_that_stops_is_ended_and_its_place_is_free_again(one, urls):
    one.fault = ProviderFault(hang="middle")
    async with routing(upstream("a", urls[0], idle_s=0.2)) as router:
        with pytest.raises(EngineTimeoutError):
            await said(router, chat("a/small", stream=True))
        assert router.live("a").slots.used == 0
    await one.gone.wait()


async def test_a_provider_taken_away_ends_when_its_last_question_did(one, two, urls):
    one.fault = ProviderFault(hang="middle")
    rows = upstream("a", urls[0]), upstream("b", urls[1])
    async with routing(*rows, routes=[route("fast", "a/small")]) as router:
        got = []

        async def ask():
            got.append(await said(router, chat("fast", stream=True)))

        async with create_task_group() as tasks:
            tasks.start_soon(ask)
            await one.hanging.wait()
            live = router.live("a")
            router.use([route("fast", "b/big")])
            router.remove("a")
            assert text((await said(router, chat("fast")))[1]) == "two"
            assert not live.idle.is_set()
            one.release()
        assert got[0][0] == 200
        assert got[0][1].endswith(b"[DONE]\n\n")
        await live.idle.wait()
        with pytest.raises(NotFoundError):
            router.live("a")


async def test_a_refused_key_is_told_to_the_client_as_the_nodes_trouble(one, urls):
    one.fault = ProviderFault(status=401, message="Incorrect API key provided: sk-re***or")
    async with routing(upstream("a", urls[0])) as router:
        status, body, _ = await said(router, chat("a/small"))
    assert (status, json.loads(body)["error"]["code"]) == (502, "hive.upstream_key")
    assert b"sk-re" not in body


@pytest.mark.parametrize(
    ("field", "asked"),
    [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")],
)
async def test_a_limit_is_written_as_the_provider_calls_it(one, urls, field, asked):
    async with routing(upstream("a", urls[0], limit_field=field)) as router:
        request = chat("a/small", **{asked: 5}, odd=1.0)
        await said(router, request)
        await said(router, chat("a/small", **{field: 6}))
        spoken = chat("a/small", dialect=Dialect.GEMINI, **GEMINI_LIMITED)
        del spoken.document["messages"]
        await said(router, replace(spoken, action="generateContent"))
    first, second, third = (one.document for one in one.seen)
    assert (first.get(asked), first[field], first["odd"]) == (None, 5, 1.0)
    assert (second.get(asked), second[field]) == (None, 6)
    assert (third.get(asked), third[field]) == (None, 7)


async def test_a_provider_without_the_option_reads_what_the_client_wrote(one, urls):
    async with routing(upstream("a", urls[0])) as router:
        request = chat("a/small", max_completion_tokens=5)
        await said(router, request)
    assert one.seen[0].document == {**request.document, "model": "small"}


async def test_ollama_and_the_local_presets_get_the_name_that_they_know(one):
    async with one.serving() as url, routing(upstream("o", f"ollama:{url}")) as router:
        await said(router, chat("o/small", max_completion_tokens=5))
    assert one.seen[-1].document["max_tokens"] == 5
    local = {preset.name for preset in PRESETS.values() if preset.limit_field == "max_tokens"}
    assert local == {"ollama", "vllm", "llamacpp", "lmstudio", "localai"}


def test_a_name_that_is_no_limits_is_refused():
    with pytest.raises(ConfigError):
        read_options('{"limit_field": "tokens"}')


async def test_a_provider_that_does_not_count_still_gets_questions_on_its_wire(one, urls):
    counting = replace(chat("a/small", dialect=Dialect.MESSAGES), action="/count_tokens")
    row = upstream("a", urls[0], wires="messages")
    async with routing(row) as router:
        one.counts = False
        status, body, answer = await said(router, counting)
        assert (status, answer.head.header("hive-estimated")) == (200, "true")
        assert json.loads(body)["input_tokens"] > 5
        await said(router, chat("a/small", dialect=Dialect.MESSAGES, max_tokens=5))
    assert [one.path for one in one.seen] == ["/v1/messages/count_tokens", "/v1/messages"]
