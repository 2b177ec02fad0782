"""Which wire a path belongs to, and what else it says: Gemini names its model and its verb there.

A path that leads nowhere gives None; in which words the client reads that is `speech_of`.
"""

import re
from typing import Final, NamedTuple

from hive.protocols.models.heads import HttpHead
from hive.protocols.models.ports import Dialect, ModelRequest

MODEL_NAME_MAX_CHARS: Final = 200
COUNT_TOKENS: Final = "/count_tokens"
COUNTS: Final = frozenset({COUNT_TOKENS, "countTokens"})
ESTIMATED: Final = "hive-estimated"
GEMINI_TALKS: Final = frozenset({"generateContent", "streamGenerateContent"})
GEMINI_EMBEDS: Final = frozenset({"embedContent", "batchEmbedContents"})
GEMINI_ACTIONS: Final = GEMINI_TALKS | GEMINI_EMBEDS | {"countTokens"}
_GEMINI_PATH: Final = re.compile(r"/v1(?:beta)?/models/(?P<model>.+):(?P<action>[A-Za-z]+)")
_LIST_PATH: Final = re.compile(r"/v1(?:beta)?/models(?:/(?P<model>.+))?")
_UNSAFE: Final = re.compile(r"[?#%\\\s]|(?:^|/)\.{0,2}(?:/|$)")
_PLAIN: Final = {one.value: one for one in Dialect if one is not Dialect.GEMINI}


class ModelPath(NamedTuple):
    """What a path says. `model` is empty where the body names it; `action` is `ModelRequest.action`."""

    dialect: Dialect
    model: str = ""
    action: str = ""


class ListingPath(NamedTuple):
    """A question for the list of models, or for one of them, and the words to answer in."""

    form: Dialect
    model: str = ""


def path_of(head: HttpHead) -> ModelPath | None:
    """Return what a request's path asks of a model, None where it is none of the wires'."""
    plain = _PLAIN.get(head.path)
    if plain is not None:
        return ModelPath(plain)
    if head.path == Dialect.MESSAGES.value + COUNT_TOKENS:
        return ModelPath(Dialect.MESSAGES, action=COUNT_TOKENS)
    found = _GEMINI_PATH.fullmatch(head.path)
    if found is None or found["action"] not in GEMINI_ACTIONS or not is_model_name(found["model"]):
        return None
    return ModelPath(Dialect.GEMINI, found["model"], found["action"])


def listing_of(head: HttpHead) -> ListingPath | None:
    """Return which models a request wants listed, None where it wants something else."""
    found = _LIST_PATH.fullmatch(head.path)
    if found is None or path_of(head) is not None:
        return None
    model = found["model"] or ""
    if model and not is_model_name(model):
        return None
    return ListingPath(speech_of(head) or Dialect.CHAT, model)


def speech_of(head: HttpHead) -> Dialect | None:
    """Return the wire whose errors the client understands; None for OpenAI's where nothing tells."""
    asked = path_of(head)
    if asked is not None:
        return asked.dialect
    if head.path.startswith("/v1beta/") or "x-goog-api-key" in head.headers or head.query_key:
        return Dialect.GEMINI
    of_messages = head.path.startswith(Dialect.MESSAGES.value + "/")
    if of_messages or "anthropic-version" in head.headers or "x-api-key" in head.headers:
        return Dialect.MESSAGES
    return None


def wants_array(head: HttpHead, request: ModelRequest) -> bool:
    """Tell whether a stream must leave as one JSON array: Gemini's, where events were not asked for."""
    return request.dialect is Dialect.GEMINI and request.stream and head.query != "alt=sse"


def is_model_name(name: str) -> bool:
    """Tell whether a name can be a model's in a path: printable, bounded, and no way to another path."""
    return (
        0 < len(name) <= MODEL_NAME_MAX_CHARS
        and name.isprintable()
        and _UNSAFE.search(name) is None
    )
