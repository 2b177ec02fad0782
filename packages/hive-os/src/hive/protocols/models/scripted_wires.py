"""A scripted reply in the words of each wire, whole or as a stream of events.

Ids and usage follow from the request alone, so equal requests give equal bytes.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from hive.core.call import sha256_hex
from hive.core.errors import UntranslatableError
from hive.core.json import Json, encode
from hive.protocols.models.conversation import (
    Conversation,
    Finish,
    PartBegan,
    PartEnded,
    PartGrew,
    Reply,
    ReplyBegan,
    ReplyEnded,
    ReplyEvent,
    ReplyFailed,
    TextPart,
    TokenUsage,
    ToolCallPart,
)
from hive.protocols.models.ports import Dialect, ModelRequest
from hive.protocols.models.script import SPLIT, ScriptedReply
from hive.protocols.models.script_heard import input_tokens
from hive.protocols.models.wires import wire_of
from hive.protocols.models.wires.fields import compact

STREAM_WORDS_MAX: Final = 5000
_PREFIXES: Final = {Dialect.CHAT: "chatcmpl-", Dialect.RESPONSES: "resp_", Dialect.MESSAGES: "msg_"}


def conversation_of(request: ModelRequest) -> Conversation:
    """Read a request as its wire says; what only one provider knows is passed over.

    Raises:
        BadInputError: it is not what its wire says.

    """
    try:
        return wire_of(request.dialect).read_request(
            request.document, model=request.model, stream=request.stream
        )
    except UntranslatableError:
        options = request.document.get("stream_options")
        asked = isinstance(options, Mapping) and options.get("include_usage") is True
        return Conversation(
            model=request.model, utterances=(), stream=request.stream, include_usage=asked
        )


class ScriptedWire:
    """One reply to one request, ready to be written."""

    def __init__(
        self, request: ModelRequest, reply: ScriptedReply, conversation: Conversation
    ) -> None:
        self._reply = reply
        self._model = request.model
        self._wire = wire_of(request.dialect)
        self._conversation = conversation
        digest = sha256_hex(request.body)[:24]
        self._id = _PREFIXES.get(request.dialect, "") + digest
        self._usage = TokenUsage(
            input=input_tokens(request), output=max(1, len(SPLIT.findall(reply.text)))
        )
        prefix = "toolu_" if request.dialect is Dialect.MESSAGES else "call_"
        self._calls = tuple(
            ToolCallPart(
                id=f"{prefix}{digest}" + (f"_{number}" if number else ""),
                name=tool.name,
                arguments=encode(tool.arguments).decode(),
            )
            for number, tool in enumerate(reply.tools)
        )

    def whole(self) -> bytes:
        """Return the answer as one document."""
        reply = Reply(
            id=self._id,
            model=self._model,
            parts=self._calls or (TextPart(text=self._reply.text),),
            finish=Finish.TOOLS if self._calls else Finish.STOP,
            usage=self._usage,
        )
        document: Mapping[str, Json] = self._wire.write_reply(reply, self._conversation)
        return compact(document)

    def events(self) -> Iterator[bytes]:
        """Yield the answer as server-sent events."""
        writer = self._wire.event_writer(self._conversation)
        for event in self._steps():
            if written := writer.write(event):
                yield written

    def _steps(self) -> Iterator[ReplyEvent]:
        usage = TokenUsage(input=self._usage.input, output=1)
        yield ReplyBegan(id=self._id, model=self._model, usage=usage)
        for index, call in enumerate(self._calls):
            opened = ToolCallPart(id=call.id, name=call.name, arguments="")
            yield PartBegan(index=index, part=opened)
            yield PartGrew(index=index, text=call.arguments)
            yield PartEnded(index=index)
        if not self._calls:
            yield PartBegan(index=0, part=TextPart(text=""))
            yield from (PartGrew(index=0, text=word) for word in self._words())
            error = self._reply.error
            if error is not None:
                yield ReplyFailed(status=error.status, message=error.message)
                return
            yield PartEnded(index=0)
        finish = Finish.TOOLS if self._calls else Finish.STOP
        yield ReplyEnded(finish=finish, usage=self._usage)

    def _words(self) -> list[str]:
        error = self._reply.error
        if error is not None:
            return [f"word{number} " for number in range(min(error.after_words, STREAM_WORDS_MAX))]
        words = SPLIT.findall(self._reply.text)
        rest = "".join(words[STREAM_WORDS_MAX:])
        return [*words[:STREAM_WORDS_MAX], *([rest] if rest else [])]
