"""The list of models in the words of each provider, in pages where its wire has pages."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

from hive.core.json import Json, encode
from hive.protocols.models.paths import ListingPath
from hive.protocols.models.ports import Dialect
from hive.protocols.models.refusals import ModelError, unknown_model

PAGE_MAX: Final = 1000
_METHODS: Final = ["generateContent", "countTokens", "embedContent", "batchEmbedContents"]


def write_listing(
    listing: ListingPath, names: Sequence[str], *, query: str = ""
) -> bytes | ModelError:
    """Return the list or the one model that was asked for, or the error where there is none."""
    if listing.model:
        if listing.model not in names:
            return unknown_model(listing.model)
        return encode(_one(listing.form, listing.model))
    wanted = dict(parse_qsl(query, max_num_fields=20, keep_blank_values=True)) if query else {}
    match listing.form:
        case Dialect.GEMINI:
            return encode(_gemini_page(names, wanted))
        case Dialect.MESSAGES:
            return encode(_anthropic_page(names, wanted))
        case _:
            # One document serves both: OpenAI's fields, and those by which Anthropic's clients page.
            return encode({"object": "list", **_anthropic_page(names, {})})


def _one(form: Dialect, name: str) -> dict[str, Json]:
    if form is Dialect.GEMINI:
        methods: list[Json] = [*_METHODS]
        return {
            "name": f"models/{name}",
            "displayName": name,
            "version": "",
            "supportedGenerationMethods": methods,
        }
    return {
        "id": name,
        "object": "model",
        "type": "model",
        "display_name": name,
        "created": 0,
        "created_at": "1970-01-01T00:00:00Z",
        "owned_by": "hive",
    }


def _gemini_page(names: Sequence[str], wanted: Mapping[str, str]) -> dict[str, Json]:
    start = _number(wanted.get("pageToken", ""), 0)
    size = _number(wanted.get("pageSize", ""), PAGE_MAX) or PAGE_MAX
    page: dict[str, Json] = {
        "models": [_one(Dialect.GEMINI, name) for name in names[start : start + size]]
    }
    if start + size < len(names):
        page["nextPageToken"] = str(start + size)
    return page


def _anthropic_page(names: Sequence[str], wanted: Mapping[str, str]) -> dict[str, Json]:
    size = max(1, _number(wanted.get("limit", ""), PAGE_MAX))
    rest = list(names)
    backwards = wanted.get("before_id", "")
    if wanted.get("after_id", "") in rest:
        rest = rest[rest.index(wanted["after_id"]) + 1 :]
    if backwards in rest:
        rest = rest[: rest.index(backwards)]
    page = rest[-size:] if backwards else rest[:size]
    return {
        "data": [_one(Dialect.MESSAGES, name) for name in page],
        "has_more": len(page) < len(rest),
        "first_id": page[0] if page else None,
        "last_id": page[-1] if page else None,
    }


def _number(text: str, default: int) -> int:
    return (
        min(int(text), PAGE_MAX) if text.isascii() and text.isdigit() and len(text) < 9 else default
    )
