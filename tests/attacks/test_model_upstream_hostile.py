"""A provider that does harm: the client sees its own SDK's error, the node's memory stays, the record is true."""

import contextlib
import json
import tracemalloc

import anthropic
import openai
import pytest
from anyio import fail_after

from hive.core.call import Outcome
from hive.core.clock import SystemClock
from hive.core.secret import Secret
from hive.core.settings import Settings
from hive.protocols.models import ModelsDoor, door, forward, open_upstream
from hive.testing.loopback import serve_app
from hive.testing.model_provider import ModelProvider, ProviderAnswer, ProviderFault
from hive.testing.rehearsal_gate import HANDLE, SANDBOX, RehearsalGate
from tests.attacks import hostile_upstream as hostile

pytestmark = pytest.mark.anyio
KEY = "sk-real-key-of-the-operator"
ASK = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 50}
GROWTH_MAX_BYTES = 160 << 20
"""An answer may be 32 MiB, and stands a few times in one process that is client, node and provider at once."""


@contextlib.asynccontextmanager
async def through(url, gate, *, scheme="openai"):
    clock = SystemClock()
    base = "" if scheme == "anthropic" else "/v1"
    settings = Settings(models=f"{scheme}:{url}{base}", model_key=Secret(KEY))
    async with open_upstream(settings, clock) as upstream:
        app = ModelsDoor(gate=gate, upstream=upstream, settings=settings, clock=clock)
        async with serve_app(app, sandbox=SANDBOX) as gateway:
            with fail_after(60):
                yield gateway


@contextlib.asynccontextmanager
async def both_clients(url, gate, *, scheme="openai"):
    async with (
        through(url, gate, scheme=scheme) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway}/v1", api_key=HANDLE, max_retries=0) as chat,
        anthropic.AsyncAnthropic(base_url=gateway, api_key=HANDLE, max_retries=0) as messages,
    ):
        yield chat, messages


async def asked(client, *, stream):
    """Ask and read to the end."""
    if isinstance(client, openai.AsyncOpenAI):
        answer = await client.chat.completions.create(**ASK, stream=stream)
    else:
        answer = await client.messages.create(**ASK, stream=stream)
    return [piece async for piece in answer] if stream else answer


@contextlib.contextmanager
def little_memory():
    """Fail where the most that was held at once grows past the bound."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most - before < GROWTH_MAX_BYTES, f"{(most - before) >> 20} MiB"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "way",
    [
        hostile.endless_head,
        hostile.endless_line,
        hostile.nonsense,
        hostile.two_lengths,
        hostile.switching,
    ],
)
async def test_what_is_no_http_is_a_bad_gateway(way, stream):
    """Without a bound on the head, `sent` goes on to ten gigabytes and the test runs out of time."""
    upstream, gate = hostile.HostileUpstream(way), RehearsalGate()
    with little_memory():
        async with upstream.serving() as url, both_clients(url, gate) as (chat, _):
            with pytest.raises(openai.InternalServerError) as caught:
                await asked(chat, stream=stream)
    assert caught.value.status_code == 502
    assert caught.value.code.startswith("hive.")
    assert upstream.sent < 4 << 20
    assert gate.outcomes == [Outcome.FAILED]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", [hostile.ten_gigabytes, hostile.bomb])
async def test_an_answer_that_is_too_much_is_cut_and_told(way, stream):
    """Without the bound of an answer the node holds all of it; without `identity`, what it unpacks to."""
    upstream, gate = hostile.HostileUpstream(way), RehearsalGate()
    with little_memory():
        async with upstream.serving() as url, both_clients(url, gate) as (chat, _):
            with pytest.raises(openai.APIError):
                await asked(chat, stream=stream)
    assert upstream.sent <= 2 * door.ANSWER_MAX_BYTES
    assert gate.outcomes == [Outcome.FAILED]


@pytest.mark.parametrize("way", [hostile.ten_gigabytes_of_one_event, hostile.never_ending_stream])
async def test_a_stream_without_an_end_ends_at_the_most_that_an_answer_may_have(way, monkeypatch):
    """Without the bound it goes on until the ten gigabytes are through, or the time of a call is over."""
    monkeypatch.setattr(door, "ANSWER_MAX_BYTES", 128 << 10)
    upstream, gate = hostile.HostileUpstream(way), RehearsalGate()
    async with upstream.serving() as url, both_clients(url, gate) as (chat, _):
        # The one event that was cut is no JSON; the others are followed by the node's error.
        with pytest.raises((openai.APIError, ValueError)):
            await asked(chat, stream=True)
    assert upstream.sent < 16 << 20
    assert gate.outcomes == [Outcome.FAILED]


async def test_a_page_of_a_login_is_no_answer():
    upstream, gate = hostile.HostileUpstream(hostile.html), RehearsalGate()
    async with upstream.serving() as url, both_clients(url, gate) as (chat, messages):
        for client, error in ((chat, openai.APIError), (messages, anthropic.APIError)):
            with contextlib.suppress(error):
                found = await asked(client, stream=False)
                # The official clients hand over text that is no JSON as text.
                assert not hasattr(found, "choices")
                assert not hasattr(found, "content")


@pytest.mark.parametrize(
    "lie",
    [
        {"prompt_tokens": -5, "completion_tokens": -1000000},
        {"prompt_tokens": 10**30, "completion_tokens": 10**40},
        {"prompt_tokens": "many", "completion_tokens": "9"},
        {"prompt_tokens": 1.5, "completion_tokens": 1e308},
        {"prompt_tokens": None, "completion_tokens": [1], "total_tokens": {}},
        {"prompt_tokens": True, "completion_tokens": False},
        [],
        "usage",
        -1,
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_lie_about_usage_is_never_a_negative_or_absurd_cost(lie, stream):
    """Without the checks a negative count gives budget back: that is spending without an end."""
    document = answer_with(lie)
    fault = ProviderFault(body=document)
    if stream:
        events = (
            b"data: " + document.replace(b"chat.completion", b"chat.completion.chunk") + b"\n\n"
        )
        fault = ProviderFault(body=events + b"data: [DONE]\n\n", media="text/event-stream")
    await passes_as_it_is(fault, stream=stream)


async def test_usage_that_is_no_number_at_all_is_no_cost():
    document = answer_with({"prompt_tokens": 0, "completion_tokens": 0})
    broken = document.replace(b'"prompt_tokens": 0', b'"prompt_tokens": NaN')
    await passes_as_it_is(ProviderFault(body=broken), stream=False)


async def passes_as_it_is(fault, *, stream):
    provider, gate = ModelProvider(fault=fault), RehearsalGate()
    async with provider.serving() as url, both_clients(url, gate) as (chat, _):
        with contextlib.suppress(openai.APIError, ValueError):
            await asked(chat, stream=stream)
    [call] = gate.calls
    for name in ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"):
        count = call.cost.get(name, 0)
        assert isinstance(count, int)
        assert not isinstance(count, bool)
        assert 0 <= count <= 1 << 60, (name, count)
    assert call.cost["answer_bytes"] > 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_is_no_answer(status):
    elsewhere = ModelProvider()
    async with elsewhere.serving() as other:
        headers = (("location", f"{other}/v1/chat/completions"),)
        provider = ModelProvider(fault=ProviderFault(status=status, headers=headers, body=b"{}"))
        gate = RehearsalGate()
        async with provider.serving() as url, through(url, gate) as gateway:
            client = openai.AsyncOpenAI(base_url=f"{gateway}/v1", api_key=HANDLE, max_retries=0)
            async with client:
                with pytest.raises(openai.APIError):
                    await asked(client, stream=False)
    assert elsewhere.connections == 0
    assert provider.asked == 1


@pytest.mark.parametrize(
    "retry_after", ["1e999", "-5", "99999999999", "never", "Wed, 21 Oct 2099 07:28:00 GMT", "\xff"]
)
@pytest.mark.parametrize("status", [429, 529, 503])
async def test_an_absurd_retry_after_is_an_error_of_the_sdk_and_holds_nobody(status, retry_after):
    fault = ProviderFault(status=status, headers=(("retry-after", retry_after),))
    provider, gate = ModelProvider(fault=fault), RehearsalGate()
    error = openai.RateLimitError if status == 429 else openai.InternalServerError
    async with provider.serving() as url, both_clients(url, gate) as (chat, _):
        with fail_after(20), pytest.raises(error):
            await asked(chat, stream=False)
    assert gate.outcomes == [Outcome.FAILED]


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, anthropic.RateLimitError), (529, anthropic.APIStatusError)],
)
async def test_the_anthropic_client_sees_its_own_errors_too(status, error):
    provider = ModelProvider(fault=ProviderFault(status=status, retry_after="1"))
    gate = RehearsalGate()
    async with (
        provider.serving() as url,
        both_clients(url, gate, scheme="anthropic") as (_, messages),
    ):
        with pytest.raises(error) as caught:
            await asked(messages, stream=False)
    assert caught.value.status_code == status
    assert gate.outcomes == [Outcome.FAILED]


@pytest.mark.parametrize("where", ["before", "head", "middle"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("scheme", ["openai", "anthropic"])
async def test_a_reset_anywhere_is_an_error_and_never_half_an_answer(scheme, stream, where):
    provider, gate = ModelProvider(fault=ProviderFault(reset=where)), RehearsalGate()
    async with provider.serving() as url, both_clients(url, gate, scheme=scheme) as clients:
        client = clients[scheme == "anthropic"]
        with pytest.raises((openai.APIError, anthropic.APIError)):
            await asked(client, stream=stream)
    assert gate.outcomes == [Outcome.FAILED]


@pytest.mark.parametrize("where", ["before", "head", "middle"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_that_hangs_is_left_in_time(monkeypatch, stream, where):
    """Without a time for each read, the client of an agent would wait as long as the provider likes."""
    monkeypatch.setattr(forward, "READ_TIMEOUT_S", 0.3)
    provider, gate = ModelProvider(fault=ProviderFault(hang=where)), RehearsalGate()
    async with provider.serving() as url, both_clients(url, gate) as (chat, _):
        with pytest.raises(openai.APIError) as caught:
            await asked(chat, stream=stream)
        await provider.gone.wait()
    assert "did not answer in time" in str(caught.value)
    assert gate.outcomes == [Outcome.FAILED]


@pytest.mark.parametrize("scheme", ["openai", "anthropic"])
async def test_events_that_are_none_do_not_break_the_node(scheme):
    provider, gate = ModelProvider(fault=ProviderFault(broken_sse=True)), RehearsalGate()
    async with provider.serving() as url, both_clients(url, gate, scheme=scheme) as clients:
        with pytest.raises((openai.APIError, anthropic.APIError, ValueError)):
            await asked(clients[scheme == "anthropic"], stream=True)
        provider.fault = ProviderFault()
        assert await asked(clients[scheme == "anthropic"], stream=True)
    assert gate.outcomes[-1] == Outcome.OK


async def test_an_answer_of_another_wire_is_not_taken_for_ones_own():
    """The provider behind `anthropic:` answers a message with OpenAI's chat."""
    fault = ProviderFault(body=answer_with({"prompt_tokens": 3, "completion_tokens": 4}))
    provider, gate = ModelProvider(fault=fault), RehearsalGate()
    async with (
        provider.serving() as url,
        both_clients(url, gate, scheme="anthropic") as (_, messages),
    ):
        with contextlib.suppress(anthropic.APIError):
            answer = await asked(messages, stream=False)
            assert not answer.content
    assert gate.calls[0].cost.get("output_tokens", 0) in (0, 4)


async def test_a_header_with_a_line_break_makes_no_second_header():
    headers = (("x-one", "a\r\nset-cookie: stolen=1\r\nx-two: b"),)
    provider, gate = ModelProvider(fault=ProviderFault(headers=headers)), RehearsalGate()
    async with provider.serving() as url, both_clients(url, gate) as (chat, _):
        raw = await chat.chat.completions.with_raw_response.create(**ASK)
    assert "set-cookie" not in raw.headers


async def test_an_honest_provider_is_answered_beside_all_that():
    provider, gate = ModelProvider(answer=ProviderAnswer(output_tokens=7)), RehearsalGate()
    async with provider.serving() as url, both_clients(url, gate) as (chat, _):
        answer = await asked(chat, stream=False)
    assert answer.usage.completion_tokens == 7
    assert gate.outcomes == [Outcome.OK]


def answer_with(usage):
    message = {"role": "assistant", "content": "hi"}
    choice = {"index": 0, "finish_reason": "stop", "message": message, "delta": message}
    document = {"id": "1", "object": "chat.completion", "created": 0, "model": "small"}
    return json.dumps({**document, "choices": [choice], "usage": usage}).encode()
