"""Google's Gemini wire, both ways. The model, the verb and whether it streams stand in its path."""

from collections.abc import Mapping

from hive.core.json import Json
from hive.protocols.models.conversation import Conversation, EventReader, EventWriter, Reply
from hive.protocols.models.ports import Dialect
from hive.protocols.models.wires.gemini_events import GeminiEventReader, GeminiEventWriter
from hive.protocols.models.wires.gemini_questions import read_gemini_question
from hive.protocols.models.wires.gemini_replies import read_gemini_reply, write_gemini_reply
from hive.protocols.models.wires.gemini_requests import write_gemini_question


class GeminiWire:
    """`/v1beta/models/{model}:generateContent` and `:streamGenerateContent?alt=sse`."""

    dialect = Dialect.GEMINI

    def read_request(
        self, document: Mapping[str, Json], *, model: str, stream: bool
    ) -> Conversation:
        """Read a client's body.

        Raises:
            BadInputError: it is not what the wire says.
            UntranslatableError: it needs what only one provider has.

        """
        return read_gemini_question(document, model=model, stream=stream)

    def write_request(self, conversation: Conversation) -> dict[str, Json]:
        """Write a body for a provider.

        Raises:
            UntranslatableError: the wire has no words for something that changes the answer.

        """
        return write_gemini_question(conversation)

    def read_reply(self, document: Mapping[str, Json]) -> Reply:
        """Read a provider's whole answer.

        Raises:
            BadInputError: it is not what the wire says.
            EngineUnavailableError: it says that the model failed.

        """
        return read_gemini_reply(document)

    def write_reply(self, reply: Reply, conversation: Conversation) -> dict[str, Json]:
        """Write a whole answer for a client.

        Raises:
            UntranslatableError: it holds what no model says.

        """
        del conversation
        return write_gemini_reply(reply)

    def event_reader(self) -> EventReader:
        """Return a reader for one stream of a provider."""
        return GeminiEventReader()

    def event_writer(self, conversation: Conversation) -> EventWriter:
        """Return a writer of one stream for a client."""
        return GeminiEventWriter(conversation)

    def error_message(self, document: Mapping[str, Json]) -> str:
        """Return the words of a provider's error document, empty where it has none."""
        error = document.get("error")
        message = error.get("message") if isinstance(error, dict) else None
        return message if isinstance(message, str) else ""
