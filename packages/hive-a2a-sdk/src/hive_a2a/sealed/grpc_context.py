"""What the handler of a sealed gRPC call sees in the place of its context."""

from collections.abc import Mapping
from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from hive_a2a.sealed.binding import Header, InnerHead, is_outside
from hive_a2a.sealed.responder import OpenedRequest

Metadata = tuple[tuple[str, str | bytes], ...]
DETAILS: Final = b"grpc-message-bin"
"""The inner header that holds the text of a status."""


class SealedAbortError(grpc.aio.AbortError):
    """A handler behind the seal ended its call with a status; it travels inside."""


class SealedContext:
    """The context of a sealed call, as its handler sees it: what was inside, and what will be.

    It is the outer one in all that is not about metadata, messages and the end of the call.
    """

    def __init__(self, outer: Any, opened: OpenedRequest) -> None:  # noqa: ANN401
        self._outer = outer
        # Asked now: to ask the outer context after its call has ended is to read memory that was given back.
        self._peer: str = outer.peer() or ""
        self._auth: Mapping[str, Any] = dict(outer.auth_context() or {})
        self._metadata = tuple(line_of(name, value) for name, value in opened.inner.headers)
        self._trailing: Metadata = ()
        self._code: Any = None
        self._details = ""
        self.hive_a2a_noise = (opened.initiator, opened.handshake_hash)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - what is not sealed is the outer one's
        """Return what the outer context has."""
        if name in ("read", "write"):
            raise NotImplementedError("The handler of a sealed call returns or yields its answers.")
        return getattr(self._outer, name)

    def peer(self) -> str:
        """Return the address that carried the call."""
        return self._peer

    def auth_context(self) -> Mapping[str, Any]:
        """Return who carried the call, by TLS."""
        return self._auth

    def invocation_metadata(self) -> Metadata:
        """Return the inner metadata."""
        return self._metadata

    async def abort_with_status(self, status: Any) -> NoReturn:  # noqa: ANN401
        """End the call with a rich status.

        Raises:
            SealedAbortError: always; it seals the status.

        """
        await self.abort(status.code, status.details, status.trailing_metadata)

    async def abort(
        self,
        code: Any,  # noqa: ANN401
        details: str = "",
        trailing_metadata: Any = (),  # noqa: ANN401
    ) -> NoReturn:
        """End the call with a status.

        Raises:
            SealedAbortError: always; it seals the status.

        """
        self._code, self._details = code, details
        self._trailing += tuple(trailing_metadata or ())
        raise SealedAbortError

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:  # noqa: ANN401
        """Say what goes at the end."""
        self._trailing = tuple(trailing_metadata)

    def trailing_metadata(self) -> Metadata:
        """Return what goes at the end."""
        return self._trailing

    def set_code(self, code: Any) -> None:  # noqa: ANN401
        """Say how the call ended."""
        self._code = code

    def set_details(self, details: str) -> None:
        """Say why it ended so."""
        self._details = details

    def code(self) -> Any:  # noqa: ANN401
        """Return how the call ended."""
        return self._code

    def details(self) -> str:
        """Return why it ended so."""
        return self._details

    async def send_initial_metadata(self, initial_metadata: Any) -> None:  # noqa: ANN401
        """Ignore it: what is not sealed does not go out, and A2A sends none."""

    def end(self, body: bytes = b"") -> bytes:
        """Return the plain text of the call's end."""
        code = self._code if self._code is not None else grpc.StatusCode.OK
        number = code.value[0] if isinstance(code, grpc.StatusCode) else int(code)
        lines: list[Header] = [(DETAILS, self._details.encode())] if self._details else []
        for name, value in self._trailing:
            raw = value if isinstance(value, bytes) else str(value).encode()
            if not is_outside(name.lower().encode()):
                lines.append((name.lower().encode(), raw))
        return InnerHead(number, body, tuple(lines)).encode()

    def broke(self) -> None:
        """Note that the handler failed; what it said is for its own log."""
        self._code, self._details, self._trailing = grpc.StatusCode.UNKNOWN, "", ()


def line_of(name: bytes, value: bytes) -> tuple[str, str | bytes]:
    """Write an inner header as metadata: bytes where the name says so, else text."""
    text = name.decode("ascii")
    return text, value if text.endswith("-bin") else value.decode("latin-1")
