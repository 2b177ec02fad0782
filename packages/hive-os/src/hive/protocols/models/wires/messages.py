"""The Anthropic messages wire."""

from collections.abc import Mapping

from hive.core.json import Json
from hive.protocols.models.conversation import Conversation, EventReader, EventWriter, Reply
from hive.protocols.models.ports import Dialect
from hive.protocols.models.wires.messages_events import MessagesReader, MessagesWriter
from hive.protocols.models.wires.messages_questions import read_question
from hive.protocols.models.wires.messages_replies import read_answer, read_error, write_answer
from hive.protocols.models.wires.messages_requests import write_question


class MessagesWire:
    """Anthropic messages, both ways."""

    dialect: Dialect = Dialect.MESSAGES

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
        return write_question(conversation)

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
        return MessagesReader()

    def event_writer(self, conversation: Conversation) -> EventWriter:
        """Return a writer of one stream for the client that asked `conversation`."""
        return MessagesWriter(conversation)

    def error_message(self, document: Mapping[str, Json]) -> str:
        """Return the words of a provider's error document, empty where it has none."""
        return read_error(document)
