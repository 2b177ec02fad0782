"""The chat completions wire, as OpenAI and everybody after it speak it."""

from collections.abc import Mapping
from typing import Final

from hive.core.json import Json
from hive.protocols.models.conversation import Conversation, EventReader, EventWriter, Reply
from hive.protocols.models.ports import Dialect
from hive.protocols.models.wires.chat_events import ChatReader, ChatWriter
from hive.protocols.models.wires.chat_questions import read_question
from hive.protocols.models.wires.chat_replies import read_answer, read_error, write_answer
from hive.protocols.models.wires.chat_requests import write_question

LIMIT_FIELD: Final = "max_completion_tokens"
OLD_LIMIT_FIELD: Final = "max_tokens"


class ChatWire:
    """Chat completions, both ways.

    `limit_field` is what the provider calls the limit of output tokens: `max_completion_tokens` at OpenAI,
    `max_tokens` at servers that know only the old name and would not see the new one.
    """

    dialect: Dialect = Dialect.CHAT

    def __init__(self, limit_field: str = LIMIT_FIELD) -> None:
        self._limit_field = limit_field

    def read_request(
        self, document: Mapping[str, Json], *, model: str, stream: bool
    ) -> Conversation:
        """Read a client's body.

        Raises:
            BadInputError: it is not what the wire says; the message names the field.

        """
        return read_question(document, model=model, stream=stream)

    def write_request(self, conversation: Conversation) -> dict[str, Json]:
        """Write a body for a provider.

        Raises:
            UntranslatableError: the wire has no words for something that changes the answer.

        """
        return write_question(conversation, limit_field=self._limit_field)

    def read_reply(self, document: Mapping[str, Json]) -> Reply:
        """Read a provider's whole answer.

        Raises:
            BadInputError: it is not what the wire says.

        """
        return read_answer(document)

    def write_reply(self, reply: Reply, conversation: Conversation) -> dict[str, Json]:
        """Write a whole answer for the client that asked `conversation`."""
        return write_answer(reply, conversation)

    def event_reader(self) -> EventReader:
        """Return a reader for one stream of a provider."""
        return ChatReader()

    def event_writer(self, conversation: Conversation) -> EventWriter:
        """Return a writer of one stream for the client that asked `conversation`."""
        return ChatWriter(conversation)

    def error_message(self, document: Mapping[str, Json]) -> str:
        """Return the words of a provider's error document, empty where it has none."""
        return read_error(document)
