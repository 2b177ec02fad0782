"""Which numbers were seen: the last `size` of them are told apart, all that is older counts as seen."""


class ReplayWindow:
    """A sliding window over message numbers; ask `fresh` first, `mark` only what was proved genuine."""

    __slots__ = ("_mask", "_seen", "_size", "_top")

    def __init__(self, size: int) -> None:
        self._size = size
        self._mask = (1 << size) - 1
        self._seen = 0
        self._top = -1

    def fresh(self, number: int) -> bool:
        """Tell whether a number was not seen and is not too old to tell."""
        behind = self._top - number
        return behind < 0 or (behind < self._size and not self._seen >> behind & 1)

    def mark(self, number: int) -> None:
        """Remember a number; a higher one than all before moves the window."""
        ahead = number - self._top
        if ahead > self._size:
            self._seen = 1
            self._top = number
        elif ahead > 0:
            self._seen = (self._seen << ahead | 1) & self._mask
            self._top = number
        else:
            self._seen |= 1 << -ahead & self._mask
