"""Embeddings cross between the wires of OpenAI and Gemini, or the field that cannot is named."""

import base64
import json
import struct
from contextlib import asynccontextmanager

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from hive.core.errors import BadInputError, UntranslatableError
from hive.protocols.models.ports import Dialect, ModelHead, ModelRequest
from hive.protocols.models.translate import translated
from hive.protocols.models.wires.embeddings import (
    BATCH,
    SINGLE,
    gemini_question,
    gemini_vectors,
    openai_question,
    openai_vectors,
    read_vectors,
)

pytestmark = pytest.mark.anyio

vectors = st.lists(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8), min_size=1, max_size=4
)


class Provider:
    """A provider that gives one document, and remembers what it was asked."""

    def __init__(self, document, status=200):
        self.head = ModelHead(status=status, headers=(("content-type", "application/json"),))
        self._body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.asked = None

    @asynccontextmanager
    async def ask(self, request):
        self.asked = request
        yield self

    async def chunks(self):
        yield self._body


async def ask(provider, dialect, document, *, action=""):
    request = ModelRequest(
        dialect=dialect,
        model="m",
        stream=False,
        body=json.dumps(document).encode(),
        document=document,
        action=action,
    )
    into = Dialect.GEMINI if dialect is Dialect.EMBEDDINGS else Dialect.EMBEDDINGS
    async with translated(provider, request, into) as answer:
        body = b"".join([chunk async for chunk in answer.chunks()])
    return answer.head.status, json.loads(body)


def content(text):
    return {"parts": [{"text": text}]}


@given(vectors, st.booleans())
def test_vectors_are_what_openai_describes_and_come_back(values, packed):
    document = openai_vectors(values, model="m", packed=packed, tokens=3)
    CreateEmbeddingResponse.model_validate({**document, "data": []} if packed else document)
    assert read_vectors(document, Dialect.EMBEDDINGS) == values


@given(vectors)
def test_vectors_are_what_google_describes_and_come_back(values):
    document = gemini_vectors(values, action=BATCH)
    types.EmbedContentResponse.model_validate({"embeddings": document["embeddings"]})
    assert read_vectors(document, Dialect.GEMINI) == values
    single = gemini_vectors(values[:1], action=SINGLE)
    assert read_vectors(single, Dialect.GEMINI) == values[:1]


@given(
    st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=4),
    st.none() | st.integers(1, 99),
)
def test_a_question_comes_back_the_same(texts, size):
    question = {"model": "m", "input": texts, "encoding_format": "float"}
    if size is not None:
        question["dimensions"] = size
    batch = gemini_question(question, model="m")
    assert openai_question(batch, model="m", action=BATCH) == question


async def test_an_openai_client_gets_geminis_vectors_packed_as_it_asked():
    provider = Provider(
        {
            "embeddings": [{"values": [0.5, -0.25]}, {"values": [1, 0]}],
            "usageMetadata": {"promptTokenCount": 7},
        }
    )
    status, answer = await ask(
        provider,
        Dialect.EMBEDDINGS,
        {"model": "m", "input": ["a", "b"], "encoding_format": "base64", "dimensions": 2},
    )
    assert status == 200
    packed = base64.b64decode(answer["data"][0]["embedding"])
    assert struct.unpack("<2f", packed) == (0.5, -0.25)
    assert answer["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert (provider.asked.dialect, provider.asked.action) == (Dialect.GEMINI, BATCH)
    assert provider.asked.document["requests"][1] == {
        "model": "models/m",
        "content": content("b"),
        "outputDimensionality": 2,
    }


async def test_a_gemini_client_gets_openais_vectors_in_the_order_of_its_questions():
    provider = Provider(
        {"data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]}
    )
    requests = [{"content": content("a")}, {"content": content("b")}]
    status, answer = await ask(provider, Dialect.GEMINI, {"requests": requests}, action=BATCH)
    assert (status, answer) == (200, {"embeddings": [{"values": [1.0]}, {"values": [2.0]}]})
    assert provider.asked.document["input"] == ["a", "b"]
    one = Provider({"data": [{"index": 0, "embedding": [3.0]}]})
    _, single = await ask(one, Dialect.GEMINI, {"content": content("a")}, action=SINGLE)
    assert single == {"embedding": {"values": [3.0]}}


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2]]}, "input"),
        ({"input": "a", "extra": 1}, "extra"),
    ],
)
def test_what_gemini_has_no_words_for_is_named(document, named):
    with pytest.raises(UntranslatableError, match=named):
        gemini_question(document, model="m")


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"content": content("a"), "taskType": "RETRIEVAL_QUERY"}, "taskType"),
        ({"content": content("a"), "title": "t"}, "title"),
        ({"content": {"parts": [{"inlineData": {"mimeType": "image/png"}}]}}, "inlineData"),
    ],
)
def test_what_openai_has_no_words_for_is_named(document, named):
    with pytest.raises(UntranslatableError, match=named):
        openai_question(document, model="m", action=SINGLE)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"input": []},
        {"input": 5},
        {"input": [None]},
        {"input": "a", "dimensions": 0},
        {"input": "a", "encoding_format": "int8"},
        {"input": ["a"] * 2049},
    ],
)
def test_a_wrong_question_is_bad_input(document):
    with pytest.raises(BadInputError) as caught:
        gemini_question(document, model="m")
    assert not isinstance(caught.value, UntranslatableError)


@pytest.mark.parametrize(
    "document",
    [
        b"{",
        [],
        {},
        {"embeddings": [{"values": [1]}, {"values": [2]}]},
        {"embeddings": [{}]},
        {"embeddings": [{"values": ["x"]}]},
        {"embeddings": [{"values": []}]},
        {"embeddings": 5},
    ],
)
async def test_an_answer_that_is_none_is_a_bad_gateway_in_the_clients_words(document):
    status, answer = await ask(Provider(document), Dialect.EMBEDDINGS, {"model": "m", "input": "a"})
    assert status == 502
    assert answer["error"]["code"] == "hive.upstream_answer"


async def test_a_providers_error_is_told_in_the_clients_words():
    error = {"error": {"code": 429, "message": "enough", "status": "RESOURCE_EXHAUSTED"}}
    status, answer = await ask(
        Provider(error, 429), Dialect.EMBEDDINGS, {"model": "m", "input": "a"}
    )
    assert (status, answer["error"]["message"]) == (429, "enough")


async def test_a_question_that_its_own_wire_would_refuse_asks_nobody():
    provider = Provider({})
    status, answer = await ask(provider, Dialect.EMBEDDINGS, {"model": "m", "input": 5})
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
    assert provider.asked is None
