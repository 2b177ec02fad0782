"""What an agent prints, as lines for people: bounded in length and rate, stripped of control characters."""

from collections import deque
from collections.abc import Callable
from typing import Final

from hive.core.clock import Clock
from hive.core.ids import plain_text

LINE_MAX_CHARS: Final = 4000
LINES_PER_S: Final = 200
BURST_LINES: Final = 2000
TAIL_LINES: Final = 20
READ_BYTES: Final = 64 << 10


class PrintedLines:
    """Cuts the bytes of one pipe into lines and hands them on; says how many it dropped."""

    def __init__(self, *, clock: Clock, on_line: Callable[[str], None]) -> None:
        self._clock = clock
        self._on_line = on_line
        self._rest = b""
        self._room = float(BURST_LINES)
        self._refilled_at = clock.monotonic()
        self._dropped = 0
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    @property
    def overrun(self) -> bool:
        """Tell whether lines are being dropped: whoever reads them should take a breath."""
        return self._dropped > 0

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LINE_MAX_CHARS:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._hand_on(line)

    def finish(self) -> None:
        """Take the end of the pipe: an unfinished line counts, and so do dropped ones."""
        if self._rest:
            self._hand_on(self._rest)
            self._rest = b""
        self._tell_dropped()

    def _hand_on(self, line: bytes) -> None:
        now = self._clock.monotonic()
        earned = (now - self._refilled_at) * LINES_PER_S
        self._room = min(float(BURST_LINES), self._room + earned)
        self._refilled_at = now
        if self._room < 1:
            self._dropped += 1
            return
        self._tell_dropped()
        self._room -= 1
        text = plain_text(line[: 4 * LINE_MAX_CHARS].decode(errors="replace"), keep="\t")
        self._emit(text[:LINE_MAX_CHARS])

    def _tell_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._emit(f"({dropped} lines were dropped: more than {LINES_PER_S} a second)")

    def _emit(self, text: str) -> None:
        self.tail.append(text)
        self._on_line(text)
