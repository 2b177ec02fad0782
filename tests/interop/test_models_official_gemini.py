"""The official Google client, unchanged, against the models door over real HTTP."""

import contextlib

import httpx
import pytest
from anyio import fail_after
from google import genai
from google.genai import errors, types

from hive.core.call import Outcome, Refused
from hive.core.clock import SystemClock
from hive.core.settings import Settings
from hive.protocols.models import ModelsDoor, open_upstream
from hive.testing.loopback import serve_app
from hive.testing.rehearsal_gate import HANDLE, SANDBOX, RehearsalGate

pytestmark = pytest.mark.anyio

RULES = r"""
models = ["scripted", "second"]

[[rules]]
match = 'weather in (\w+)'
tool = { name = "weather", arguments = { city = '\1' } }

[[rules]]
match = "everywhere"
tools = [
  { name = "weather", arguments = { city = "Oslo" } },
  { name = "weather", arguments = { city = "Rome" } },
]

[[rules]]
on = "tool"
match = '(?s).+'
reply = 'It says: \g<0>'

[[rules]]
match = "break after"
error = { status = 503, message = "scripted to break", after_words = 3 }

"""
STATUSES = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="weather",
            description="Tells the weather.",
            parameters=types.Schema(
                type="OBJECT",
                properties={"city": types.Schema(type="STRING")},
                required=["city"],
            ),
        )
    ]
)
BY_HAND = types.GenerateContentConfig(
    tools=[WEATHER],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)


@contextlib.asynccontextmanager
async def door_at(tmp_path, gate, rules=RULES):
    path = tmp_path / "rules.toml"
    path.write_text(rules)
    settings = Settings(models=f"scripted:{path}")
    clock = SystemClock()
    async with open_upstream(settings, clock) as upstream:
        door = ModelsDoor(gate=gate, upstream=upstream, settings=settings, clock=clock)
        async with serve_app(door, sandbox=SANDBOX) as url:
            with fail_after(30):
                yield url


@contextlib.asynccontextmanager
async def client_at(url, key=HANDLE):
    async with httpx.AsyncClient(trust_env=False) as http:
        options = types.HttpOptions(base_url=url, httpx_async_client=http)
        yield genai.Client(api_key=key, http_options=options).aio


async def test_it_gets_an_answer_with_usage(tmp_path):
    gate = RehearsalGate()
    async with door_at(tmp_path, gate) as url, client_at(url) as client:
        answer = await client.models.generate_content(model="scripted", contents="hello there")
    assert answer.text == "scripted answer to: hello there"
    assert answer.candidates[0].finish_reason is types.FinishReason.STOP
    [kept] = gate.calls
    assert kept.attempt.target == "scripted"
    assert kept.outcome is Outcome.OK
    assert kept.cost["input_tokens"] == answer.usage_metadata.prompt_token_count
    assert kept.cost["output_tokens"] == answer.usage_metadata.candidates_token_count


async def test_it_streams_an_answer_with_usage(tmp_path):
    gate = RehearsalGate()
    async with door_at(tmp_path, gate) as url, client_at(url) as client:
        stream = await client.models.generate_content_stream(
            model="scripted", contents="one {two three"
        )
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.text or "" for chunk in chunks) == "scripted answer to: one {two three"
    assert len(chunks) > 4
    assert chunks[-1].candidates[0].finish_reason is types.FinishReason.STOP
    tokens = chunks[-1].usage_metadata.candidates_token_count
    assert gate.calls[0].cost["output_tokens"] == tokens


async def test_letters_that_end_a_line_for_python_do_not_tear_its_stream(tmp_path):
    odd = "a\x85b\u2028c\u2029d"
    async with door_at(tmp_path, RehearsalGate()) as url, client_at(url) as client:
        stream = await client.models.generate_content_stream(model="scripted", contents=odd)
        texts = [chunk.text async for chunk in stream]
    assert "".join(filter(None, texts)) == f"scripted answer to: {odd}"


async def test_it_is_asked_for_tools_at_once_and_brings_their_results(tmp_path):
    async with door_at(tmp_path, RehearsalGate()) as url, client_at(url) as client:
        asked = await client.models.generate_content(
            model="scripted", contents="everywhere", config=BY_HAND
        )
        stream = await client.models.generate_content_stream(
            model="scripted", contents="everywhere", config=BY_HAND
        )
        streamed = [call async for chunk in stream for call in (chunk.function_calls or ())]
        question = types.Content(role="user", parts=[types.Part(text="everywhere")])
        results = [
            types.Part.from_function_response(name="weather", response={"result": word})
            for word in ("sunny", "rainy")
        ]
        answer = await client.models.generate_content(
            model="scripted",
            contents=[
                question,
                asked.candidates[0].content,
                types.Content(role="user", parts=results),
            ],
            config=BY_HAND,
        )
    assert [call.args for call in asked.function_calls] == [{"city": "Oslo"}, {"city": "Rome"}]
    assert [call.args for call in streamed] == [{"city": "Oslo"}, {"city": "Rome"}]
    assert answer.text == "It says: sunny\nrainy"


async def test_it_calls_a_function_by_itself(tmp_path):
    asked = []

    def weather(city: str) -> str:
        """Tell the weather."""
        asked.append(city)
        return "fog"

    async with door_at(tmp_path, RehearsalGate()) as url, client_at(url) as client:
        answer = await client.models.generate_content(
            model="scripted",
            contents="the weather in Lima",
            config=types.GenerateContentConfig(tools=[weather]),
        )
    assert asked == ["Lima"]
    assert answer.text == "It says: fog"


async def test_it_holds_a_chat_plain_and_streamed(tmp_path):
    async with door_at(tmp_path, RehearsalGate()) as url, client_at(url) as client:
        chat = client.chats.create(model="scripted")
        first = await chat.send_message("first")
        texts = [chunk.text async for chunk in await chat.send_message_stream("second")]
        history = chat.get_history(curated=True)
    assert first.text == "scripted answer to: first"
    assert "".join(filter(None, texts)) == "scripted answer to: second"
    assert [content.role for content in history[:3]] == ["user", "model", "user"]
    assert len(history) > 3


async def test_it_gets_structured_output_that_fits_its_schema(tmp_path):
    import pydantic

    class Inner(pydantic.BaseModel):
        size: int = pydantic.Field(ge=3)

    class Report(pydantic.BaseModel):
        title: str
        colour: str = pydantic.Field(pattern="^$|red")
        parts: list[Inner]
        inner: Inner

    async with door_at(tmp_path, RehearsalGate()) as url, client_at(url) as client:
        answer = await client.models.generate_content(
            model="scripted",
            contents="a report",
            config=types.GenerateContentConfig(
                response_mime_type="application/json", response_schema=Report
            ),
        )
    assert isinstance(answer.parsed, Report)
    assert answer.parsed.inner.size == 3


async def test_it_embeds_counts_and_lists(tmp_path):
    async with door_at(tmp_path, RehearsalGate()) as url, client_at(url) as client:
        embedded = await client.models.embed_content(
            model="scripted",
            contents=["one", "two", "one"],
            config=types.EmbedContentConfig(output_dimensionality=12, task_type="RETRIEVAL_QUERY"),
        )
        counted = await client.models.count_tokens(model="scripted", contents="hello")
        names = [model.name async for model in await client.models.list()]
        paged = [model.name async for model in await client.models.list(config={"page_size": 1})]
        one = await client.models.get(model="second")
        with pytest.raises(errors.ClientError) as missing:
            await client.models.get(model="third")
    first, second, third = (one.values for one in embedded.embeddings)
    assert len(first) == 12
    assert first == third != second
    assert sum(number * number for number in first) == pytest.approx(1)
    assert counted.total_tokens > 0
    assert names == paged == ["models/scripted", "models/second"]
    assert one.name == "models/second"
    assert (missing.value.code, missing.value.status) == (404, "NOT_FOUND")


async def test_it_sends_an_image(tmp_path):
    async with door_at(tmp_path, RehearsalGate()) as url, client_at(url) as client:
        answer = await client.models.generate_content(
            model="scripted",
            contents=[types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png"), "see"],
        )
    assert answer.text == "scripted answer to: see (1 files)"


@pytest.mark.parametrize("status", [400, 429, 503])
async def test_it_reads_a_providers_error_as_its_own(tmp_path, status):
    rules = f'[[rules]]\nmatch = "x"\nerror = {{ status = {status}, message = "scripted no" }}\n'
    gate = RehearsalGate()
    kind = errors.ServerError if status >= 500 else errors.ClientError
    async with door_at(tmp_path, gate, rules) as url, client_at(url) as client:
        with pytest.raises(kind, match="scripted no") as caught:
            await client.models.generate_content(model="scripted", contents="x")
        with pytest.raises(kind, match="scripted no"):
            async for _ in await client.models.generate_content_stream(
                model="scripted", contents="x"
            ):
                pass
    assert (caught.value.code, caught.value.status) == (status, STATUSES[status])
    assert gate.outcomes == [Outcome.FAILED, Outcome.FAILED]


@pytest.mark.parametrize(
    ("check", "code", "status"),
    [
        ("budget", 429, "RESOURCE_EXHAUSTED"),
        ("rate", 429, "RESOURCE_EXHAUSTED"),
        ("grant", 403, "PERMISSION_DENIED"),
        ("identity", 401, "UNAUTHENTICATED"),
        ("ledger", 503, "UNAVAILABLE"),
    ],
)
async def test_a_refusal_is_an_error_of_its_own_kind(tmp_path, check, code, status):
    wait_s = 2.5 if check == "rate" else None
    no = Refused(check=check, reason="not today", retry_after_s=wait_s)
    gate = RehearsalGate(judge=lambda _attempt: no)
    async with door_at(tmp_path, gate) as url, client_at(url) as client:
        with pytest.raises(errors.APIError, match="not today") as caught:
            await client.models.generate_content(model="m", contents="x")
    assert (caught.value.code, caught.value.status) == (code, status)
    [reason, *retry] = caught.value.details["error"]["details"]
    assert reason["reason"] == f"HIVE_{check.upper()}"
    assert [one["retryDelay"] for one in retry] == (["3s"] if wait_s else [])
    # Only its user can make this client repeat a call; by itself it asks once.
    assert len(gate.calls) == 1


async def test_a_stream_that_breaks_raises_its_own_error(tmp_path):
    texts = []

    async def read(stream):
        async for chunk in stream:
            texts.extend([chunk.text])

    async with door_at(tmp_path, RehearsalGate()) as url, client_at(url) as client:
        stream = await client.models.generate_content_stream(
            model="scripted", contents="break after"
        )
        with pytest.raises(errors.ServerError, match="scripted to break") as caught:
            await read(stream)
    assert caught.value.code == 503
    assert "".join(texts) == "word0 word1 word2 "


async def test_a_wrong_handle_is_refused_in_its_words_wherever_it_stands(tmp_path):
    gate = RehearsalGate()
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    async with door_at(tmp_path, gate) as url, client_at(url, "stolen") as client:
        with pytest.raises(errors.ClientError) as caught:
            await client.models.generate_content(model="scripted", contents="x")
        async with httpx.AsyncClient(trust_env=False, base_url=url) as plain:
            path = "/v1beta/models/scripted:generateContent"
            wrong = await plain.post(f"{path}?key=stolen", json=body)
            two = await plain.post(
                f"{path}?key=other", json=body, headers={"x-goog-api-key": HANDLE}
            )
            right = await plain.post(f"{path}?key={HANDLE}", json=body)
    assert caught.value.status == "UNAUTHENTICATED"
    assert [wrong.status_code, two.status_code, right.status_code] == [401, 401, 200]
    assert wrong.json()["error"]["status"] == "UNAUTHENTICATED"
    [kept] = gate.calls
    assert HANDLE.encode() not in kept.attempt.arguments
    assert HANDLE not in repr(kept.attempt)


async def test_a_stream_without_events_is_one_array(tmp_path):
    body = {"contents": [{"role": "user", "parts": [{"text": "one two"}]}]}
    headers = {"x-goog-api-key": HANDLE}
    path = "/v1beta/models/scripted:streamGenerateContent"
    gate = RehearsalGate()
    async with (
        door_at(tmp_path, gate) as url,
        httpx.AsyncClient(trust_env=False, base_url=url, headers=headers) as plain,
    ):
        array = await plain.post(path, json=body)
        events = await plain.post(f"{path}?alt=sse", json=body)
        broken = await plain.post(path, json={"contents": [{"parts": [{"text": "break after"}]}]})
    pieces = [chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in array.json()]
    assert "".join(pieces) == "scripted answer to: one two"
    assert array.headers["content-type"].startswith("application/json")
    assert events.headers["content-type"].startswith("text/event-stream")
    assert broken.json()[-1]["error"]["status"] == "UNAVAILABLE"
    # Both forms are one request to the gate, so a re-run finds the one by the other.
    assert gate.calls[0].attempt.arguments == gate.calls[1].attempt.arguments


async def test_a_rerun_reads_the_recorded_answer_of_the_same_model_only(tmp_path):
    first, second = RehearsalGate(), RehearsalGate()
    async with door_at(tmp_path, first) as url, client_at(url) as client:
        live = await client.models.generate_content(model="scripted", contents="once")
    second.replay = first.calls
    async with door_at(tmp_path, second) as url, client_at(url) as client:
        again = await client.models.generate_content(model="scripted", contents="once")
        other = await client.models.generate_content(model="second", contents="once")
    assert again.text == live.text
    assert other.model_version == "second"
    assert [bool(call.frames) for call in second.calls] == [False, True]
