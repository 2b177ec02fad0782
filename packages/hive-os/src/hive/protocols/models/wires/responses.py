"""OpenAI's responses wire, both ways."""

from collections.abc import Mapping

from hive.core.json import Json
from hive.protocols.models.conversation import Conversation, EventReader, EventWriter, Reply
from hive.protocols.models.ports import Dialect
from hive.protocols.models.wires.responses_events import ResponsesEventReader
from hive.protocols.models.wires.responses_questions import read_responses_question
from hive.protocols.models.wires.responses_replies import (
    read_responses_reply,
    write_responses_reply,
)
from hive.protocols.models.wires.responses_requests import write_responses_question
from hive.protocols.models.wires.responses_writer import ResponsesEventWriter


class ResponsesWire:
    """`/v1/responses`."""

    dialect = Dialect.RESPONSES

    def read_request(
        self, document: Mapping[str, Json], *, model: str, stream: bool
    ) -> Conversation:
        """Read a client's body.

        Raises:
            BadInputError: it is not what the wire says.
            UntranslatableError: it needs what only one provider has.

        """
        return read_responses_question(document, model=model, stream=stream)

    def write_request(self, conversation: Conversation) -> dict[str, Json]:
        """Write a body for a provider.

        Raises:
            UntranslatableError: the wire has no words for something that changes the answer.

        """
        return write_responses_question(conversation)

    def read_reply(self, document: Mapping[str, Json]) -> Reply:
        """Read a provider's whole answer.

        Raises:
            BadInputError: it is not what the wire says.
            EngineUnavailableError: it says that the provider failed.

        """
        return read_responses_reply(document)

    def write_reply(self, reply: Reply, conversation: Conversation) -> dict[str, Json]:
        """Write a whole answer for a client.

        Raises:
            UntranslatableError: it holds an image or a sound.

        """
        return write_responses_reply(reply, conversation)

    def event_reader(self) -> EventReader:
        """Return a reader for one stream of a provider."""
        return ResponsesEventReader()

    def event_writer(self, conversation: Conversation) -> EventWriter:
        """Return a writer of one stream for a client."""
        return ResponsesEventWriter(conversation)

    def error_message(self, document: Mapping[str, Json]) -> str:
        """Return the words of a provider's error document, empty where it has none."""
        error = document.get("error")
        message = error.get("message") if isinstance(error, dict) else document.get("message")
        return message if isinstance(message, str) else ""
