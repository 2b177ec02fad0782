"""QEMU's monitor (QMP) over a unix socket: one order at a time, each answer checked.

What QEMU says is not trusted: a line that is too long, is no object or answers another order ends the connection.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

from hive.core.errors import SandboxError
from hive.core.json import Json

MAX_LINE_BYTES: Final = 1 << 20
MAX_EVENTS_BETWEEN: Final = 1000
ANSWER_TIMEOUT_S: Final = 10.0


class QemuMonitor:
    """The monitor of one QEMU; not for two tasks at once, and of no use after an error of the wire."""

    def __init__(self, stream: ByteStream) -> None:
        """Speak over `stream`, on which nothing was said yet."""
        self._stream = stream
        self._lines = BufferedByteReceiveStream(stream)
        self._last = 0
        self._broken = False

    async def greet(self) -> None:
        """Hear QEMU's greeting and leave the negotiation.

        Raises:
            SandboxError: it is no QMP, or QEMU is silent.

        """
        try:
            with anyio.fail_after(ANSWER_TIMEOUT_S):
                greeting = await self._line()
        except TimeoutError as silence:
            self._broken = True
            raise SandboxError("QEMU's monitor does not greet") from silence
        if not isinstance(greeting.get("QMP"), dict):
            self._broken = True
            raise SandboxError("what answers is no monitor of QEMU")
        await self.order("qmp_capabilities")

    async def order(self, name: str, arguments: Mapping[str, Json] | None = None) -> Json:
        """Return what QEMU answers to one order.

        Raises:
            SandboxError: it refuses, is silent, is gone, or says what is no answer to this order.

        """
        if self._broken:
            raise SandboxError("this monitor's connection is broken")
        self._last += 1
        said: dict[str, Json] = {"execute": name, "id": self._last}
        if arguments:
            said["arguments"] = dict(arguments)
        self._broken = True
        try:
            with anyio.fail_after(ANSWER_TIMEOUT_S):
                await self._stream.send(json.dumps(said).encode() + b"\n")
                answer = await self._answer()
        except TimeoutError as silence:
            raise SandboxError(f"QEMU does not answer to {name}") from silence
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as gone:
            raise SandboxError(f"QEMU is gone at {name}") from gone
        self._broken = False
        if "error" in answer:
            raise SandboxError(f"QEMU refuses {name}: {_told(answer['error'])}")
        return answer["return"]

    async def _answer(self) -> dict[str, Json]:
        for _ in range(MAX_EVENTS_BETWEEN):
            line = await self._line()
            if "event" in line:
                continue
            if line.get("id") != self._last or ("return" in line) == ("error" in line):
                raise SandboxError("QEMU's monitor answers what was not asked")
            return line
        raise SandboxError("QEMU's monitor sends events without end")

    async def _line(self) -> dict[str, Json]:
        try:
            line: Json = json.loads(await self._lines.receive_until(b"\n", MAX_LINE_BYTES))
        except anyio.DelimiterNotFound as long:
            raise SandboxError("a line of QEMU's monitor is too long") from long
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError) as gone:
            raise SandboxError("QEMU's monitor is gone") from gone
        except (ValueError, RecursionError) as problem:
            raise SandboxError("a line of QEMU's monitor is no JSON") from problem
        if not isinstance(line, dict):
            raise SandboxError("a line of QEMU's monitor is no object")
        return line


def _told(error: Json) -> str:
    text = error.get("desc") if isinstance(error, dict) else None
    return text[:200] if isinstance(text, str) else "without a reason"


@asynccontextmanager
async def open_monitor(path: Path) -> AsyncIterator[QemuMonitor]:
    """Yield the greeted monitor that listens at `path`; leaving closes the connection.

    Raises:
        SandboxError: nobody listens, or it is no monitor.

    """
    try:
        stream = await anyio.connect_unix(path)
    except OSError as problem:
        raise SandboxError(f"QEMU's monitor cannot be reached: {problem.strerror}") from problem
    async with stream:
        monitor = QemuMonitor(stream)
        await monitor.greet()
        yield monitor
