"""What a scripted model answers in numbers: counts of tokens, and vectors that follow from their text alone."""

import math
import struct
from collections.abc import Sequence
from hashlib import shake_256
from typing import Final

from hive.core.errors import BadInputError
from hive.core.json import Json
from hive.protocols.models.paths import COUNT_TOKENS, GEMINI_EMBEDS
from hive.protocols.models.ports import Dialect, ModelRequest
from hive.protocols.models.script_heard import input_tokens
from hive.protocols.models.wires.embeddings import (
    gemini_vectors,
    openai_question,
    openai_vectors,
)
from hive.protocols.models.wires.fields import Fields, bad, compact

VECTOR_NUMBERS: Final = 256
VECTOR_NUMBERS_MAX: Final = 4096
INPUTS_MAX: Final = 2048


def is_numbers(request: ModelRequest) -> bool:
    """Tell whether a request wants numbers, not words."""
    return (
        request.dialect is Dialect.EMBEDDINGS
        or request.action in GEMINI_EMBEDS
        or request.action in (COUNT_TOKENS, "countTokens")
    )


def numbers(request: ModelRequest) -> bytes:
    """Answer a request for numbers.

    Raises:
        BadInputError: it is not what its wire says.

    """
    if request.action == COUNT_TOKENS:
        return compact({"input_tokens": input_tokens(request)})
    if request.action == "countTokens":
        return compact({"totalTokens": input_tokens(request)})
    if request.dialect is Dialect.EMBEDDINGS:
        fields = Fields(request.document)
        packed = fields.one_of("encoding_format", ("float", "base64"), "float") == "base64"
        vectors = _vectors(_inputs(fields.raw("input")), fields.whole("dimensions", least=1))
        tokens = input_tokens(request)
        return compact(openai_vectors(vectors, model=request.model, packed=packed, tokens=tokens))
    plain = _without_task(request.document)
    question = Fields(openai_question(plain, model=request.model, action=request.action))
    vectors = _vectors(_inputs(question.raw("input")), question.whole("dimensions", least=1))
    return compact(gemini_vectors(vectors, action=request.action))


def _without_task(document: object) -> dict[str, Json]:
    """Return a Gemini request without its task and title: a scripted vector does not depend on them."""
    plain: dict[str, Json] = {}
    for key, value in document.items() if isinstance(document, dict) else ():
        if key in ("taskType", "title"):
            continue
        plain[key] = (
            [_without_task(one) if isinstance(one, dict) else one for one in value]
            if key == "requests" and isinstance(value, list)
            else value
        )
    return plain


def _inputs(value: Json) -> Sequence[Json]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not 0 < len(value) <= INPUTS_MAX:
        raise bad("input", f"must be a string or a list of 1 to {INPUTS_MAX}")
    if all(isinstance(one, int) and not isinstance(one, bool) for one in value):
        return [value]
    for one in value:
        if not one or not isinstance(one, str | list):
            raise bad("input", "must hold strings that are not empty, or lists of tokens")
    return value


def _vectors(inputs: Sequence[Json], size: int | None) -> list[list[float]]:
    count = VECTOR_NUMBERS if size is None else size
    if count > VECTOR_NUMBERS_MAX:
        raise BadInputError(f"`dimensions` must be at most {VECTOR_NUMBERS_MAX}.")
    return [_vector(compact(one), count) for one in inputs]


def _vector(seed: bytes, count: int) -> list[float]:
    """Return numbers made from a hash, together of length one."""
    raw = struct.unpack(f"<{count}i", shake_256(seed).digest(4 * count))
    length = math.sqrt(sum(number * number for number in raw)) or 1.0
    return [number / length for number in raw]
