"""How patient the node is with one provider, and how much it asks of it at once."""

from dataclasses import replace
from typing import Final

import msgspec

from hive.core.errors import ConfigError
from hive.core.json import Json, decode, encode
from hive.protocols.models.ports import Dialect, ModelRequest

_IN_ORDER: Final = msgspec.json.Encoder()
LIMIT_FIELDS: Final = ("", "max_tokens", "max_completion_tokens")


class UpstreamOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one provider. Times in seconds; `wires` as in `chat,embeddings`, empty for the driver's own.

    `limit_field` is what its chat wire calls the limit of an answer: `max_tokens` at servers that know only
    that name, `max_completion_tokens` at those that know only the other; empty where it knows both.
    """

    wires: str = ""
    limit_field: str = ""
    connect_s: float = 10.0
    first_byte_s: float = 280.0
    idle_s: float = 120.0
    total_s: float = 600.0
    concurrent_max: int = 100
    queue_max: int = 200
    queue_s: float = 30.0
    tries_max: int = 3

    def checked(self) -> "UpstreamOptions":
        """Return these options.

        Raises:
            ConfigError: a number is out of its range.

        """
        if self.limit_field not in LIMIT_FIELDS:
            raise ConfigError(
                "An option of a model provider cannot be used.",
                why=f"limit_field={self.limit_field[:40]!r} is no name of a limit.",
                fix="Known: " + ", ".join(LIMIT_FIELDS[1:]),
            )
        times = {"connect_s", "first_byte_s", "idle_s", "total_s", "queue_s"}
        for name in self.__struct_fields__:
            value = getattr(self, name)
            low, high = (0.01, 3600.0) if name in times else (1, 10_000)
            if name == "queue_max":
                low = 0
            if name == "concurrent_max":
                high = 1000
            if not isinstance(value, str) and not low <= value <= high:
                raise ConfigError(
                    "An option of a model provider is out of range.",
                    why=f"{name}={value:g}; {low:g} to {high:g} is allowed.",
                    fix="Correct it.",
                )
        return self


def in_its_words(request: ModelRequest, limit_field: str) -> ModelRequest:
    """Return a chat request with its limit under the name that the provider knows."""
    other = next((one for one in LIMIT_FIELDS[1:] if one != limit_field), "")
    document = request.document
    if not limit_field or request.dialect is not Dialect.CHAT or other not in document:
        return request
    kept = {**document, limit_field: document.get(limit_field, document[other])}
    del kept[other]
    return replace(request, document=kept, body=_IN_ORDER.encode(kept))


def read_options(text: str) -> UpstreamOptions:
    """Read options that were kept, or that an operator gave as JSON.

    Raises:
        ConfigError: one is unknown, of the wrong kind or out of range.

    """
    try:
        document: Json = decode(text or "{}")
        return msgspec.convert(document, UpstreamOptions).checked()
    except (ValueError, msgspec.ValidationError) as error:
        raise ConfigError(
            "The options of a model provider cannot be read.",
            why=str(error)[:200],
            fix="Known: " + ", ".join(UpstreamOptions.__struct_fields__),
        ) from error


def write_options(options: UpstreamOptions) -> str:
    """Write what differs from the defaults."""
    default = UpstreamOptions()
    changed = {
        name: getattr(options, name)
        for name in options.__struct_fields__
        if getattr(options, name) != getattr(default, name)
    }
    return encode(changed).decode()
