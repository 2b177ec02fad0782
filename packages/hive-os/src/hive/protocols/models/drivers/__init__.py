"""The table of model providers; the first row is the default."""

from contextlib import AbstractAsyncContextManager
from typing import Final
from urllib.parse import quote

from hive.core.clock import Clock
from hive.core.drivers import DriverRow, Table
from hive.core.settings import Settings
from hive.protocols.models.ports import Upstream, UpstreamOpener

UPSTREAMS: Final[Table[UpstreamOpener]] = Table(
    port="models",
    setting="HIVE_MODELS",
    rows=(
        DriverRow(
            scheme="scripted",
            target="hive.protocols.models.drivers.scripted:ScriptedUpstream",
            summary="deterministic answers by rules; `scripted:/path/rules.toml` names your own",
        ),
        DriverRow(
            scheme="openai",
            target="hive.protocols.models.drivers.openai:OpenAIUpstream",
            summary="any server of the OpenAI wires: `openai:https://host/v1`",
        ),
        DriverRow(
            scheme="anthropic",
            target="hive.protocols.models.drivers.anthropic:AnthropicUpstream",
            summary="any server of the Anthropic wire: `anthropic:https://host`",
        ),
        DriverRow(
            scheme="gemini",
            target="hive.protocols.models.drivers.gemini:GeminiUpstream",
            summary="Google's Gemini: `gemini:https://generativelanguage.googleapis.com`",
        ),
        DriverRow(
            scheme="azure",
            target="hive.protocols.models.drivers.azure:AzureUpstream",
            summary="Azure OpenAI: `azure:https://NAME.openai.azure.com`, older: `?api-version=...`",
        ),
        DriverRow(
            scheme="ollama",
            target="hive.protocols.models.drivers.ollama:OllamaUpstream",
            summary="Ollama, found by itself on this machine: `ollama:http://127.0.0.1:11434`",
        ),
        DriverRow(
            scheme="replay",
            target="hive.protocols.models.drivers.replay:ReplayUpstream",
            summary="recorded answers of a cassette: `replay:/path/cassette.json`",
        ),
        DriverRow(
            scheme="tiny",
            target="hive.protocols.models.drivers.tiny:TinyUpstream",
            summary="a small real model on this machine: `tiny:` or `tiny:/path/model.gguf`",
            extra="tiny",
        ),
        DriverRow(
            scheme="litellm",
            target="hive.protocols.models.drivers.litellm:LitellmUpstream",
            summary="any provider of litellm, in a process of its own: `litellm:mistral`",
            extra="litellm",
        ),
        DriverRow(
            scheme="any-llm",
            target="hive.protocols.models.drivers.any_llm:AnyLlmUpstream",
            summary="any provider of any-llm, in a process of its own: `any-llm:mistral`",
            extra="any-llm",
        ),
    ),
)

_OVER_TLS: Final = frozenset({"openai", "anthropic", "gemini", "azure", "ollama"})


def with_authorities(url: str, ca: str) -> str:
    """Return a driver URL that also trusts the authorities in a file; as it is where it names no https."""
    address, _, query = url.partition("?")
    named = any(one.startswith("ca=") for one in query.split("&"))
    if not ca or named or address.partition(":")[0] not in _OVER_TLS or ":http://" in address:
        return url
    return f"{address}?{'&'.join(filter(None, (query, f'ca={quote(ca)}')))}"


def open_upstream(settings: Settings, clock: Clock) -> AbstractAsyncContextManager[Upstream]:
    """Open the provider that the settings name.

    Raises:
        ConfigError: `HIVE_MODELS` names none, or cannot be used.

    """
    url = with_authorities(settings.models, settings.ssl_cert_file)
    return UPSTREAMS.load(url).open(
        url,
        key=settings.model_key,
        clock=clock,
        timeout_s=settings.request_timeout_s,
    )
