"""The wires that requests and answers are translated between, each loaded when it is first needed.

`wire_of(dialect)` gives one. Embeddings are no conversation: `wires.embeddings` translates them by itself.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Final

from hive.core.errors import UntranslatableError
from hive.protocols.models.conversation import Wire
from hive.protocols.models.ports import Dialect

WIRES: Final[Mapping[Dialect, str]] = MappingProxyType(
    {
        Dialect.CHAT: "hive.protocols.models.wires.chat:ChatWire",
        Dialect.RESPONSES: "hive.protocols.models.wires.responses:ResponsesWire",
        Dialect.MESSAGES: "hive.protocols.models.wires.messages:MessagesWire",
        Dialect.GEMINI: "hive.protocols.models.wires.gemini:GeminiWire",
    }
)


@cache
def wire_of(dialect: Dialect) -> Wire:
    """Return the one wire object of a dialect; wires hold no state.

    Raises:
        UntranslatableError: the dialect carries no conversations.

    """
    target = WIRES.get(dialect)
    if target is None:
        raise UntranslatableError(
            f"The wire {dialect.name.lower()} carries no conversations.",
            why="Only requests that ask a model for words are translated here.",
            fix="Route the model to a provider of the same wire.",
        )
    module, _, name = target.partition(":")
    wire: Wire = getattr(import_module(module), name)()
    return wire
