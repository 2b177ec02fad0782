"""The table of model providers; the first row is the default."""

from contextlib import AbstractAsyncContextManager
from typing import Final

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
    ),
)


def open_upstream(settings: Settings, clock: Clock) -> AbstractAsyncContextManager[Upstream]:
    """Open the provider that the settings name.

    Raises:
        ConfigError: `HIVE_MODELS` names none, or cannot be used.

    """
    return UPSTREAMS.load(settings.models).open(
        settings.models,
        key=settings.model_key,
        clock=clock,
        timeout_s=settings.request_timeout_s,
    )
