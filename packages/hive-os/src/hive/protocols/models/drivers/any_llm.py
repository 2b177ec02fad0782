"""any-llm as a provider: many clouds by their name, in a process of their own."""

from collections.abc import Mapping
from typing import ClassVar

from hive.protocols.models.drivers.library import LibraryUpstream
from hive.protocols.models.drivers.library_place import provider_options


class AnyLlmUpstream(LibraryUpstream):
    """`any-llm:PROVIDER`, such as `any-llm:mistral`; `?api_base=https://...` where it needs an address."""

    LIBRARY = "any_llm"
    NEEDS: ClassVar[Mapping[str, str]] = {"any_llm": "pip install 'hive-os[any-llm]'"}

    @classmethod
    def options_of(cls, url: str) -> Mapping[str, str]:
        """Return the provider and its address. Raises ConfigError."""
        return provider_options(url, example="any-llm:mistral")
