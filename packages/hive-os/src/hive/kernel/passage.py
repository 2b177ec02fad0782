"""An admitted call on its way: frames pass, are kept, and end in a result."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing

from hive.core.budget import Amounts
from hive.core.call import Call, Outcome
from hive.core.json import Json
from hive.kernel.ports import Act
from hive.kernel.record import FRAMES_KEPT_MAX_BYTES


class LivePassage:
    """A deed that happens now; its frames are kept for the record while they pass."""

    replayed = False

    def __init__(
        self, call: Call, act: Act, hear: Callable[[list[bytes] | None], None] = lambda _kept: None
    ) -> None:
        self.call = call
        self._hear = hear
        self._act = act
        self._kept: list[bytes] | None = []
        self._size_bytes = 0
        self._outcome: Outcome | None = None
        self.finished = False
        self.cost: Mapping[str, Json] = {}
        self.spent: Amounts | None = None
        self.redact: frozenset[str] = frozenset()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the frames of the deed; what was yielded is heard, also by who leaves before the end."""
        try:
            async with aclosing(self._act()) as frames:  # type: ignore[type-var]
                async for frame in frames:
                    self._keep(frame)
                    yield frame
            self.finished = True
        finally:
            if self.finished or self._size_bytes:
                self._hear(self._kept)

    def settle(
        self,
        outcome: Outcome,
        *,
        cost: Mapping[str, Json] | None = None,
        spent: Amounts | None = None,
    ) -> None:
        """Say how it ended."""
        self._outcome = outcome
        self.cost = cost or self.cost
        self.spent = self.spent if spent is None else spent

    @property
    def outcome(self) -> Outcome:
        """Return how it ended: as settled, else by whether all frames came."""
        if self._outcome is not None:
            return self._outcome
        return Outcome.OK if self.finished else Outcome.CANCELED

    @property
    def kept(self) -> list[bytes] | None:
        """Return the frames, or None where they were too large to keep."""
        return self._kept

    def _keep(self, frame: bytes) -> None:
        self._size_bytes += len(frame)
        if self._kept is not None:
            self._kept.append(frame)
            if self._size_bytes > FRAMES_KEPT_MAX_BYTES:
                self._kept = None


class RecordedPassage:
    """A deed that happened before a crash; its frames come from the record."""

    replayed = True
    redact: frozenset[str] = frozenset()

    def __init__(self, call: Call, frames: tuple[bytes, ...]) -> None:
        self.call = call
        self._frames = frames

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the recorded frames."""
        for frame in self._frames:
            yield frame

    def settle(
        self,
        outcome: Outcome,
        *,
        cost: Mapping[str, Json] | None = None,
        spent: Amounts | None = None,
    ) -> None:
        """Change nothing: the record already says how it ended."""
