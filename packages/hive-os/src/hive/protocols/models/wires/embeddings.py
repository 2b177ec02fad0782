"""Embeddings of OpenAI and Gemini, translated into each other.

Only texts are translated, never numbers of tokens (each model has its own), and never what makes another
vector of the same text (`taskType`, `title`).
"""

import base64
import binascii
import math
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Final

from hive.core.errors import BadInputError, UntranslatableError
from hive.core.json import Json, decode, depth_exceeds
from hive.protocols.models.paths import GEMINI_EMBEDS
from hive.protocols.models.ports import Dialect, ModelAnswer, ModelHead, ModelRequest, Upstream
from hive.protocols.models.refusals import ModelError
from hive.protocols.models.translate import TranslatedAnswer, error_status
from hive.protocols.models.wires.fields import Fields, bad, compact, put, untranslatable

INPUTS_MAX: Final = 2048
ANSWER_MAX_BYTES: Final = 32 << 20
TOLD_MAX_CHARS: Final = 2000
SINGLE: Final = "embedContent"
BATCH: Final = "batchEmbedContents"
_OPENAI_READ: Final = frozenset({"model", "input", "encoding_format", "dimensions", "user"})
_GEMINI_READ: Final = frozenset({"model", "content", "taskType", "outputDimensionality"})
_NO_TASK: Final = ("TASK_TYPE_UNSPECIFIED", "SEMANTIC_SIMILARITY")


@asynccontextmanager
async def translate_embeddings(
    upstream: Upstream, request: ModelRequest, into: Dialect
) -> AsyncIterator[ModelAnswer]:
    """Ask `upstream` for embeddings in the wire `into`, and answer in the request's own.

    Entering raises:
        UntranslatableError: the other wire has no words for the request; nobody was asked.
        EngineUnavailableError: the provider cannot be reached.
        EngineTimeoutError: it did not answer in time.
    """
    try:
        outgoing = _outgoing(request, into)
    except UntranslatableError:
        raise
    except BadInputError as error:
        wrong = ModelError(status=400, code="hive.bad_request", message=str(error))
        yield TranslatedAnswer.of(wrong, request.dialect)
        return
    async with upstream.ask(outgoing) as answer:
        body = await _whole(answer)
        yield _answered(request, answer.head, body)


def openai_question(document: Mapping[str, Json], *, model: str, action: str) -> dict[str, Json]:
    """Write a Gemini client's request as OpenAI's.

    Raises:
        BadInputError: it is not what its wire says.
        UntranslatableError: it asks for what OpenAI's wire has no words for.

    """
    fields = Fields(document)
    asked = list(fields.objects("requests")) if action == BATCH else [fields]
    if not 0 < len(asked) <= INPUTS_MAX:
        raise bad("requests", f"must have 1 to {INPUTS_MAX} entries")
    texts: list[Json] = []
    sizes: set[int | None] = set()
    for one in asked:
        for key in one.rest(_GEMINI_READ):
            raise untranslatable(one.place(key), "OpenAI's embeddings have no words for it")
        if one.text("taskType", _NO_TASK[0]) not in _NO_TASK:
            raise untranslatable(one.place("taskType"), "it would give another vector")
        texts.append(_text(Fields.of(one.raw("content"), one.place("content"))))
        sizes.add(one.whole("outputDimensionality", least=1))
    if len(sizes) > 1:
        raise untranslatable("outputDimensionality", "OpenAI's embeddings have one size a request")
    question: dict[str, Json] = {"model": model, "input": texts, "encoding_format": "float"}
    return put(question, dimensions=sizes.pop())


def gemini_question(document: Mapping[str, Json], *, model: str) -> dict[str, Json]:
    """Write an OpenAI client's request as Gemini's, always as a batch.

    Raises:
        BadInputError: it is not what its wire says.
        UntranslatableError: it asks for what Gemini's wire has no words for.

    """
    fields = Fields(document)
    for key in fields.rest(_OPENAI_READ):
        raise untranslatable(key, "Gemini's embeddings have no words for it")
    fields.one_of("encoding_format", ("float", "base64"), "float")
    size = fields.whole("dimensions", least=1)
    requests: list[Json] = []
    for text in _inputs(fields.raw("input")):
        content: Json = {"parts": [{"text": text}]}
        entry: dict[str, Json] = {"model": f"models/{model}", "content": content}
        requests.append(put(entry, outputDimensionality=size))
    return {"requests": requests}


def _inputs(value: Json) -> Sequence[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not 0 < len(texts) <= INPUTS_MAX:
        raise bad("input", f"must be a string or a list of 1 to {INPUTS_MAX}")
    found: list[str] = []
    for text in texts:
        if isinstance(text, int | list) and not isinstance(text, bool):
            raise untranslatable("input", "numbers of tokens mean another text to another model")
        if not isinstance(text, str):
            raise bad("input", "must hold strings")
        found.append(text)
    return found


def _text(content: Fields) -> str:
    texts: list[str] = []
    for part in content.objects("parts"):
        for key in part.rest({"text"}):
            raise untranslatable(part.place(key), "OpenAI's embeddings are of text only")
        texts.append(part.text("text"))
    if not texts:
        raise bad(content.place("parts"), "must have at least one part")
    return "\n".join(texts)


def read_vectors(document: Mapping[str, Json], dialect: Dialect) -> list[list[float]]:
    """Read the vectors of a provider's answer, in the order of the questions.

    Raises:
        BadInputError: it is not what its wire says.

    """
    fields = Fields(document)
    if dialect is Dialect.GEMINI:
        single = fields.inner("embedding")
        entries = [single] if single is not None else list(fields.objects("embeddings"))
        return [_numbers(entry.raw("values"), entry.place("values")) for entry in entries]
    found = [
        (entry.whole("index") or 0, _numbers(entry.raw("embedding"), entry.place("embedding")))
        for entry in fields.objects("data")
    ]
    return [vector for _, vector in sorted(found, key=lambda one: one[0])]


def _numbers(value: Json, where: str) -> list[float]:
    if isinstance(value, str):
        try:
            packed = base64.b64decode(value, validate=True)
            vector = list(struct.unpack(f"<{len(packed) // 4}f", packed))
        except (binascii.Error, ValueError, struct.error) as error:
            raise bad(where, "must be base64 of 32-bit numbers") from error
    elif isinstance(value, list):
        vector = [
            float(one) if isinstance(one, int | float) and not isinstance(one, bool) else math.nan
            for one in value
        ]
    else:
        raise bad(where, "must be a list of numbers")
    if not vector or not all(map(math.isfinite, vector)):
        raise bad(where, "must hold numbers")
    return vector


def openai_vectors(
    vectors: Sequence[Sequence[float]], *, model: str, packed: bool, tokens: int
) -> dict[str, Json]:
    """Write OpenAI's answer; `packed` as base64 of 32-bit numbers."""
    data: list[Json] = []
    for index, vector in enumerate(vectors):
        written: Json = (
            base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            if packed
            else list(vector)
        )
        data.append({"object": "embedding", "index": index, "embedding": written})
    usage: Json = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def gemini_vectors(
    vectors: Sequence[Sequence[float]], *, action: str, tokens: int = 0
) -> dict[str, Json]:
    """Write Gemini's answer to one question or to a batch."""
    values: list[Json] = [{"values": list(vector)} for vector in vectors]
    written: dict[str, Json] = (
        {"embedding": values[0]} if action == SINGLE else {"embeddings": values}
    )
    return put(written, usageMetadata={"promptTokenCount": tokens} if tokens else None)


def _outgoing(request: ModelRequest, into: Dialect) -> ModelRequest:
    document: dict[str, Json]
    if request.dialect is Dialect.EMBEDDINGS and into is Dialect.GEMINI:
        document, action = gemini_question(request.document, model=request.model), BATCH
    elif request.action in GEMINI_EMBEDS and into is Dialect.EMBEDDINGS:
        document, action = (
            openai_question(request.document, model=request.model, action=request.action),
            "",
        )
    else:
        raise untranslatable(request.dialect.name.lower(), "no other provider makes embeddings")
    return replace(
        request,
        dialect=into,
        body=compact(document),
        document=document,
        headers=(("content-type", "application/json"),),
        query="",
        action=action,
        stream=False,
    )


async def _whole(answer: ModelAnswer) -> bytes:
    body = bytearray()
    async with aclosing(answer.chunks()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > ANSWER_MAX_BYTES:
                break
    return bytes(body)


def _answered(request: ModelRequest, head: ModelHead, body: bytes) -> TranslatedAnswer:
    provider = Dialect.GEMINI if request.dialect is Dialect.EMBEDDINGS else Dialect.EMBEDDINGS
    try:
        document = _object(body)
        if not 200 <= head.status < 300:
            return _failed(request, head, document)
        vectors = read_vectors(document, provider)
        if len(vectors) != _asked(request):
            raise bad("embeddings", "are not as many as were asked for")
    except BadInputError as error:
        status = 502 if head.status < 400 else error_status(head.status, request.dialect)
        message = f"The model provider's answer cannot be read. {error}"
        wrong = ModelError(status=status, code="hive.upstream_answer", message=message)
        return TranslatedAnswer.of(wrong, request.dialect)
    tokens = _tokens(document)
    if request.dialect is Dialect.EMBEDDINGS:
        packed = request.document.get("encoding_format") == "base64"
        written = openai_vectors(vectors, model=request.model, packed=packed, tokens=tokens)
    else:
        written = gemini_vectors(vectors, action=request.action, tokens=tokens)
    data = compact(written)
    headers = (("content-type", "application/json"), ("content-length", str(len(data))))
    return TranslatedAnswer(ModelHead(status=200, headers=headers), data)


def _asked(request: ModelRequest) -> int:
    key = "input" if request.dialect is Dialect.EMBEDDINGS else "requests"
    value = request.document.get(key)
    return len(value) if isinstance(value, list) else 1


def _object(body: bytes) -> Mapping[str, Json]:
    try:
        document = None if depth_exceeds(body) or len(body) > ANSWER_MAX_BYTES else decode(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise BadInputError("It is no JSON object, or too large.")
    return document


def _tokens(document: Mapping[str, Json]) -> int:
    for key, name in (("usage", "prompt_tokens"), ("usageMetadata", "promptTokenCount")):
        usage = document.get(key)
        count = usage.get(name) if isinstance(usage, dict) else None
        if isinstance(count, int) and not isinstance(count, bool):
            return max(0, count)
    return 0


def _failed(
    request: ModelRequest, head: ModelHead, document: Mapping[str, Json]
) -> TranslatedAnswer:
    error = document.get("error")
    words = error.get("message") if isinstance(error, dict) else None
    message = words if isinstance(words, str) else f"The model provider answered {head.status}."
    wrong = ModelError(
        status=error_status(head.status, request.dialect),
        code="hive.upstream_error",
        message=message[:TOLD_MAX_CHARS],
    )
    return TranslatedAnswer.of(wrong, request.dialect)
