"""The witness's door: other nodes have their checkpoints signed here (C2SP `tlog-witness`).

Open to everybody, since a request vouches for itself: it is signed by a log's key that an operator named. What a stranger
costs is bounded in size, and nothing is written for them.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from hive.core.json import encode
from hive.ledger.witnessing import REQUEST_MAX_BYTES, LogWitness, WitnessAnswer

_Message: TypeAlias = MutableMapping[str, Any]
_NODE_MAX_CHARS: Final = 128


class WitnessDoor:
    """An ASGI application with two paths: `add-checkpoint`, and `checkpoints?node=`."""

    def __init__(self, witness: LogWitness) -> None:
        self._witness = witness

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        verb = (scope["method"], scope["path"].rpartition("/")[2])
        if verb == ("POST", "add-checkpoint"):
            body = await _body(receive)
            answer = (
                WitnessAnswer(status=413, text="The request is too long.\n")
                if body is None
                else await self._witness.add_checkpoint(body)
            )
        elif verb == ("GET", "checkpoints"):
            node = scope["query_string"].decode("latin-1").removeprefix("node=")
            notes = await self._witness.notes_of(node[:_NODE_MAX_CHARS])
            answer = WitnessAnswer(status=200, text=encode(notes).decode(), kind="application/json")
        elif verb == ("GET", "key"):
            answer = WitnessAnswer(status=200, text=self._witness.key.cosigner_text + "\n")
        else:
            answer = WitnessAnswer(status=404, text="There is nothing at this address.\n")
        headers = [(b"content-type", answer.kind.encode()), (b"x-content-type-options", b"nosniff")]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.text.encode()})


async def _body(receive: Callable[[], Awaitable[_Message]]) -> bytes | None:
    body: bytes = b""
    while True:
        message = await receive()
        chunk: bytes = message.get("body", b"")
        body += chunk
        if message["type"] != "http.request" or len(body) > REQUEST_MAX_BYTES:
            return None
        if not message.get("more_body", False):
            return body
