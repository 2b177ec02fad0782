"""What stands behind `litellm:` and `any-llm:`: a provider's name, and perhaps its address."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from hive.core.drivers import query_of
from hive.core.errors import ConfigError

_PROVIDER: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_HERE: Final = ("127.0.0.1", "::1", "localhost")


def provider_options(url: str, *, example: str) -> Mapping[str, str]:
    """Return the provider and its address.

    Raises:
        ConfigError: the URL has another form, or the key would travel in the clear.

    """
    provider = url.partition("?")[0].partition(":")[2]
    options = query_of(url)
    base = options.get("api_base", "")
    place = urlsplit(base)
    safe = place.scheme == "https" or (place.scheme == "http" and place.hostname in _HERE)
    if not _PROVIDER.fullmatch(provider) or set(options) - {"api_base"} or (base and not safe):
        raise ConfigError(
            "HIVE_MODELS names no provider that can be used.",
            why="It needs a provider's name and, if any, an `api_base` of https (http only on this machine).",
            fix=f"Write it as `{example}`.",
        )
    return {"place": provider, "api_base": base}
