"""litellm as a provider: a hundred clouds by their name, in a process of their own."""

from collections.abc import Mapping
from typing import ClassVar

from hive.protocols.models.drivers.library import LibraryUpstream
from hive.protocols.models.drivers.library_place import provider_options


class LitellmUpstream(LibraryUpstream):
    """`litellm:PROVIDER`, such as `litellm:mistral`; `?api_base=https://...` where it needs an address."""

    LIBRARY = "litellm"
    NEEDS: ClassVar[Mapping[str, str]] = {"litellm": "pip install 'hive-os[litellm]'"}

    @classmethod
    def options_of(cls, url: str) -> Mapping[str, str]:
        """Return the provider and its address. Raises ConfigError."""
        return provider_options(url, example="litellm:mistral")
