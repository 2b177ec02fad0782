"""The node's real key, taken out of what a provider answers: some repeat it in an error, and an agent reads that."""

from typing import Final

MASK: Final = b"*"
KEY_MIN_BYTES: Final = 8


class KeyScrubber:
    """Replace a key in one body, wherever its pieces are cut; the body keeps its length.

    Bytes are held back only while they may be the beginning of the key. A key of a few characters is none
    that could be told from other text, and is left.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key if len(key) >= KEY_MIN_BYTES else b""
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """Take a piece; return what may go on."""
        key = self._key
        if not key:
            return chunk
        data = self._held + chunk if self._held else chunk
        if key in data:
            data = data.replace(key, MASK * len(key))
        cut = self._beginning(data)
        self._held = data[cut:]
        return data[:cut]

    def end(self) -> bytes:
        """Return what was held back: the body ended before it became the key."""
        held, self._held = self._held, b""
        return held

    def _beginning(self, data: bytes) -> int:
        """Return where the key may begin at the end of the data, else its length."""
        key = self._key
        place = data.find(key[:1], max(0, len(data) - len(key) + 1))
        while place >= 0:
            if key.startswith(data[place:]):
                return place
            place = data.find(key[:1], place + 1)
        return len(data)
