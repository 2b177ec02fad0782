"""The made-up provider of the tests is real enough: official clients read its answers, and its faults are faults."""

import anthropic
import httpx
import openai
import pytest
from anyio import fail_after

from hive.testing.model_provider import ModelProvider, ProviderAnswer, ProviderFault

pytestmark = pytest.mark.anyio
ASK = {"model": "small", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
async def provider():
    return ModelProvider(key="sk-real")


@pytest.fixture
async def url(provider):
    async with provider.serving() as url:
        with fail_after(20):
            yield url


def openai_at(url, key="sk-real"):
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


async def test_the_openai_client_reads_whole_answers_streams_and_tool_calls(provider, url):
    async with openai_at(url) as client:
        answer = await client.chat.completions.create(**ASK)
        assert answer.choices[0].message.content == "Hello from the provider."
        provider.answer = ProviderAnswer(tool=("weather", '{"city": "Rome"}'), output_tokens=77)
        stream = await client.chat.completions.create(**ASK, stream=True)
        chunks = [chunk async for chunk in stream]
        assert chunks[-1].usage.completion_tokens == 77
        calls = [one for c in chunks if c.choices for one in c.choices[0].delta.tool_calls or []]
        assert calls[0].function.name == "weather"
        said = await client.responses.create(model="small", input="hi")
        assert said.output_text == "Hello from the provider."
        async with client.responses.stream(model="small", input="hi") as streamed:
            final = await streamed.get_final_response()
        assert final.usage.output_tokens == 77
        assert (await client.embeddings.create(model="small", input="x")).data[0].embedding
        assert [model.id async for model in client.models.list()] == ["small", "large"]


async def test_the_anthropic_client_reads_whole_answers_and_streams(url):
    async with anthropic.AsyncAnthropic(base_url=url, api_key="sk-real", max_retries=0) as client:
        answer = await client.messages.create(**ASK, max_tokens=9)
        assert answer.content[0].text == "Hello from the provider."
        async with client.messages.stream(**ASK, max_tokens=9) as stream:
            final = await stream.get_final_message()
        assert final.content[0].text == "Hello from the provider."
        assert (await client.messages.count_tokens(**ASK)).input_tokens > 1


async def test_gemini_answers_whole_and_as_a_stream(url):
    async with httpx.AsyncClient(headers={"x-goog-api-key": "sk-real"}) as client:
        asked = {"contents": [{"parts": [{"text": "hi"}]}]}
        place = f"{url}/v1beta/models/small"
        whole = (await client.post(f"{place}:generateContent", json=asked)).json()
        stream = await client.post(f"{place}:streamGenerateContent?alt=sse", json=asked)
    assert whole["candidates"][0]["content"]["parts"][0]["text"] == "Hello from the provider."
    assert stream.text.count("data: ") == 5


async def test_its_faults_come_in_order_and_then_it_answers_again(provider, url):
    provider.then(
        ProviderFault(status=429, retry_after="3"),
        ProviderFault(status=529),
        ProviderFault(reset="before"),
        ProviderFault(reset="middle"),
    )
    async with openai_at(url) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(**ASK)
        assert caught.value.response.headers["retry-after"] == "3"
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(**ASK)
        for _ in range(2):
            with pytest.raises(openai.APIConnectionError):
                await client.chat.completions.create(**ASK)
        assert (await client.chat.completions.create(**ASK)).usage.completion_tokens == 4
    assert provider.asked == 5


async def test_it_holds_a_request_until_the_client_leaves(provider, url):
    provider.fault = ProviderFault(hang="middle")
    async with openai_at(url) as client:
        stream = await client.chat.completions.create(**ASK, stream=True)
        async for _ in stream:
            break
        await provider.hanging.wait()
        await stream.close()
    await provider.gone.wait()


async def test_a_wrong_key_is_refused(url):
    async with openai_at(url, key="wrong") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(**ASK)
