"""Providers that are known by name, so that nobody has to look up an address."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

OLD_LIMIT_FIELD: Final = "max_tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One provider: its driver URL, whether it needs a key, `limit_field` of its options."""

    name: str
    url: str
    needs_key: bool
    about: str
    limit_field: str = ""


_ROWS: Final = (
    Preset(name="openai", url="openai:https://api.openai.com/v1", needs_key=True, about="OpenAI"),
    Preset(
        name="anthropic",
        url="anthropic:https://api.anthropic.com",
        needs_key=True,
        about="Anthropic",
    ),
    Preset(
        name="gemini",
        url="gemini:https://generativelanguage.googleapis.com",
        needs_key=True,
        about="Google's Gemini",
    ),
    Preset(
        name="openrouter",
        url="openai:https://openrouter.ai/api/v1?wires=chat,responses,embeddings",
        needs_key=True,
        about="OpenRouter",
    ),
    Preset(
        name="ollama",
        url="ollama:http://127.0.0.1:11434",
        needs_key=False,
        about="Ollama on this machine",
        limit_field=OLD_LIMIT_FIELD,
    ),
    Preset(
        name="vllm",
        url="openai:http://127.0.0.1:8000/v1",
        needs_key=False,
        about="vLLM on this machine",
        limit_field=OLD_LIMIT_FIELD,
    ),
    Preset(
        name="llamacpp",
        url="openai:http://127.0.0.1:8080/v1?wires=chat,embeddings",
        needs_key=False,
        about="llama.cpp's server on this machine",
        limit_field=OLD_LIMIT_FIELD,
    ),
    Preset(
        name="lmstudio",
        url="openai:http://127.0.0.1:1234/v1?wires=chat,embeddings",
        needs_key=False,
        about="LM Studio on this machine",
        limit_field=OLD_LIMIT_FIELD,
    ),
    Preset(
        name="localai",
        url="openai:http://127.0.0.1:8080/v1?wires=chat,embeddings",
        needs_key=False,
        about="LocalAI on this machine",
        limit_field=OLD_LIMIT_FIELD,
    ),
)
PRESETS: Final[Mapping[str, Preset]] = MappingProxyType({row.name: row for row in _ROWS})
