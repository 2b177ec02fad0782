"""The official OpenAI and Anthropic clients, unchanged, against the models door over real HTTP."""

import contextlib

import anthropic
import openai
import pytest
from anyio import fail_after

from hive.core.call import Outcome, Refused, Verb
from hive.core.clock import SystemClock
from hive.core.settings import Settings
from hive.protocols.models import ModelsDoor, open_upstream
from hive.testing.loopback import serve_app
from hive.testing.rehearsal_gate import HANDLE, SANDBOX, RehearsalGate

pytestmark = pytest.mark.anyio

RULES = r"""
[[rules]]
match = 'weather in (\w+)'
tool = { name = "weather", arguments = { city = '\1', unit = "celsius" } }

[[rules]]
on = "tool"
reply = 'It says: \g<0>'
match = '.+'

[[rules]]
match = "break"
error = { status = 500, message = "scripted to fail" }

[[rules]]
match = "too much"
error = { status = 429, message = "slow down" }
"""


@contextlib.asynccontextmanager
async def door_at(tmp_path, gate):
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    settings = Settings(models=f"scripted:{rules}")
    clock = SystemClock()
    async with open_upstream(settings, clock) as upstream:
        door = ModelsDoor(gate=gate, upstream=upstream, settings=settings, clock=clock)
        async with serve_app(door, sandbox=SANDBOX) as url:
            with fail_after(30):
                yield url


def openai_at(url, key=HANDLE):
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def anthropic_at(url, key=HANDLE):
    return anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0)


OPENAI_TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


async def test_an_openai_client_gets_a_chat_answer_with_usage(tmp_path):
    gate = RehearsalGate()
    async with door_at(tmp_path, gate) as url, openai_at(url) as client:
        answer = await client.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": "hello there"}]
        )
    assert answer.choices[0].message.content == "scripted answer to: hello there"
    [kept] = gate.calls
    assert (kept.attempt.verb, kept.attempt.target) == (Verb.ASK, "scripted")
    assert kept.outcome is Outcome.OK
    assert kept.cost["input_tokens"] == answer.usage.prompt_tokens
    assert kept.cost["output_tokens"] == answer.usage.completion_tokens


async def test_an_openai_client_streams_a_chat_answer_with_usage(tmp_path):
    gate = RehearsalGate()
    async with door_at(tmp_path, gate) as url, openai_at(url) as client:
        stream = await client.chat.completions.create(
            model="scripted",
            messages=[{"role": "user", "content": "one two three"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(filter(None, texts)) == "scripted answer to: one two three"
    assert len([text for text in texts if text]) > 3
    assert gate.calls[0].cost["output_tokens"] == chunks[-1].usage.completion_tokens


async def test_an_openai_client_is_asked_for_a_tool_and_brings_its_result(tmp_path):
    gate = RehearsalGate()
    async with door_at(tmp_path, gate) as url, openai_at(url) as client:
        messages = [{"role": "user", "content": "the weather in Paris"}]
        asked = await client.chat.completions.create(
            model="scripted", messages=messages, tools=[OPENAI_TOOL]
        )
        [call] = asked.choices[0].message.tool_calls
        messages += [
            asked.choices[0].message,
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ]
        answer = await client.chat.completions.create(model="scripted", messages=messages)
    assert (call.function.name, call.function.arguments) == (
        "weather",
        '{"city":"Paris","unit":"celsius"}',
    )
    assert asked.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content == "It says: sunny"


async def test_an_openai_client_streams_a_tool_call(tmp_path):
    ask = {
        "model": "scripted",
        "messages": [{"role": "user", "content": "weather in Oslo"}],
        "tools": [OPENAI_TOOL],
    }
    async with (
        door_at(tmp_path, RehearsalGate()) as url,
        openai_at(url) as client,
        client.chat.completions.stream(**ask) as stream,
    ):
        final = await stream.get_final_completion()
    [call] = final.choices[0].message.tool_calls
    assert call.function.arguments == '{"city":"Oslo","unit":"celsius"}'


async def test_an_openai_client_uses_responses_plain_streamed_and_with_a_tool(tmp_path):
    async with door_at(tmp_path, RehearsalGate()) as url, openai_at(url) as client:
        plain = await client.responses.create(model="scripted", input="hi")
        async with client.responses.stream(model="scripted", input="count to three") as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_response()
        tool = await client.responses.create(model="scripted", input="weather in Rome")
        async with client.responses.stream(model="scripted", input="weather in Rome") as stream:
            streamed_tool = await stream.get_final_response()
        result = await client.responses.create(
            model="scripted",
            input=[
                {"role": "user", "content": "weather in Rome"},
                tool.output[0].model_dump(),
                {
                    "type": "function_call_output",
                    "call_id": tool.output[0].call_id,
                    "output": "rain",
                },
            ],
        )
    assert plain.output_text == "scripted answer to: hi"
    assert final.output_text == "scripted answer to: count to three"
    assert kinds.count("response.output_text.delta") > 3
    assert tool.output[0].arguments == '{"city":"Rome","unit":"celsius"}'
    assert streamed_tool.output[0].arguments == tool.output[0].arguments
    assert result.output_text == "It says: rain"


async def test_an_openai_client_reads_the_providers_errors_as_its_own(tmp_path):
    gate = RehearsalGate()
    async with door_at(tmp_path, gate) as url, openai_at(url) as client:
        with pytest.raises(openai.InternalServerError, match="scripted to fail"):
            await client.chat.completions.create(
                model="scripted", messages=[{"role": "user", "content": "break"}]
            )
        with pytest.raises(openai.RateLimitError, match="slow down"):
            await client.chat.completions.create(
                model="scripted", messages=[{"role": "user", "content": "too much"}], stream=True
            )
    assert gate.outcomes == [Outcome.FAILED, Outcome.FAILED]


@pytest.mark.parametrize(
    ("no", "openai_error", "anthropic_error"),
    [
        (
            Refused(check="grant", reason="the model is not in its grant"),
            openai.PermissionDeniedError,
            anthropic.PermissionDeniedError,
        ),
        (
            Refused(check="budget", reason="no calls are left"),
            openai.RateLimitError,
            anthropic.RateLimitError,
        ),
        (
            Refused(check="rate", reason="too fast", retry_after_s=0.2),
            openai.RateLimitError,
            anthropic.RateLimitError,
        ),
    ],
)
async def test_a_refusal_is_an_error_of_the_clients_own_kind(
    tmp_path, no, openai_error, anthropic_error
):
    gate = RehearsalGate(judge=lambda _attempt: no)
    async with door_at(tmp_path, gate) as url, openai_at(url) as one, anthropic_at(url) as two:
        with pytest.raises(openai_error, match=no.reason) as first:
            await one.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "x"}]
            )
        with pytest.raises(anthropic_error, match=no.reason) as second:
            await two.messages.create(
                model="m", max_tokens=5, messages=[{"role": "user", "content": "x"}]
            )
    assert first.value.code == f"hive.{no.check}"
    assert first.value.response.headers["hive-reason"] == f"hive.{no.check}"
    assert second.value.body["type"] == "error"
    if no.retry_after_s is None:
        assert first.value.response.headers["x-should-retry"] == "false"
    else:
        assert first.value.response.headers["retry-after"] == "1"


async def test_a_wrong_handle_is_an_authentication_error(tmp_path):
    gate = RehearsalGate()
    async with (
        door_at(tmp_path, gate) as url,
        openai_at(url, "stolen") as one,
        anthropic_at(url, "stolen") as two,
    ):
        with pytest.raises(openai.AuthenticationError):
            await one.models.list()
        with pytest.raises(anthropic.AuthenticationError):
            await two.messages.create(
                model="m", max_tokens=5, messages=[{"role": "user", "content": "x"}]
            )
    assert gate.calls == []


async def test_an_anthropic_client_gets_an_answer_plain_and_streamed(tmp_path):
    gate = RehearsalGate()
    ask = {
        "model": "scripted",
        "max_tokens": 100,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "good morning"}],
    }
    async with door_at(tmp_path, gate) as url, anthropic_at(url) as client:
        plain = await client.messages.create(**ask)
        async with client.messages.stream(**ask) as stream:
            texts = [text async for text in stream.text_stream]
            final = await stream.get_final_message()
    assert plain.content[0].text == "scripted answer to: good morning"
    assert "".join(texts) == final.content[0].text == plain.content[0].text
    assert len(texts) > 2
    assert final.stop_reason == "end_turn"
    assert [one.cost["input_tokens"] for one in gate.calls] == [
        plain.usage.input_tokens,
        final.usage.input_tokens,
    ]


async def test_an_anthropic_client_is_asked_for_a_tool_and_brings_its_result(tmp_path):
    tool = {"name": "weather", "input_schema": {"type": "object"}}
    question = {"role": "user", "content": "weather in Lima"}
    async with door_at(tmp_path, RehearsalGate()) as url, anthropic_at(url) as client:
        asked = await client.messages.create(
            model="scripted", max_tokens=100, messages=[question], tools=[tool]
        )
        async with client.messages.stream(
            model="scripted", max_tokens=100, messages=[question], tools=[tool]
        ) as stream:
            streamed = await stream.get_final_message()
        result = {"type": "tool_result", "tool_use_id": asked.content[0].id, "content": "fog"}
        answer = await client.messages.create(
            model="scripted",
            max_tokens=100,
            messages=[
                question,
                {"role": "assistant", "content": [asked.content[0].model_dump()]},
                {"role": "user", "content": [result]},
            ],
        )
    assert asked.stop_reason == "tool_use"
    assert (
        asked.content[0].input == streamed.content[0].input == {"city": "Lima", "unit": "celsius"}
    )
    assert answer.content[0].text == "It says: fog"


async def test_both_clients_list_the_models(tmp_path):
    gate = RehearsalGate()
    async with door_at(tmp_path, gate) as url, openai_at(url) as one, anthropic_at(url) as two:
        first = [model.id async for model in one.models.list()]
        second = [model.id async for model in two.models.list()]
    assert first == second == ["scripted"]


async def test_a_rerun_reads_the_recorded_stream_and_asks_nobody(tmp_path):
    ask = {"model": "scripted", "messages": [{"role": "user", "content": "once"}], "stream": True}
    first, second = RehearsalGate(), RehearsalGate()
    async with door_at(tmp_path, first) as url, openai_at(url) as client:
        live = [chunk async for chunk in await client.chat.completions.create(**ask)]
    second.replay = first.calls
    async with door_at(tmp_path, second) as url, openai_at(url) as client:
        again = [chunk async for chunk in await client.chat.completions.create(**ask)]
    assert again == live
    assert second.calls[0].frames == []
