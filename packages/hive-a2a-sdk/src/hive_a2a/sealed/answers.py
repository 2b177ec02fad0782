"""The frames of an answer, and what of an answer can be told from them: origin, order and end.

Each request carries the key of its own answer, so a frame of another answer never opens. A frame is one
byte of flags and the sealed text; its nonce is its place in the answer, and the flags are bound, so a frame
that was moved, left out, repeated or marked as the last does not open. An answer without its
last frame is cut, and is said to be. After every `REKEY_FRAMES` frames the key is the next one.

In HTTP's event streams a frame is one event: `data: ` and the frame in base64url. Comments, which is what
pings are, may stand between.
"""

from binascii import Error as Base64Error
from typing import Final

from cryptography.exceptions import InvalidTag

from hive_a2a.base64url import from_base64url, to_base64url
from hive_a2a.noise.cipher import TAG_BYTES, CipherSuite, next_key
from hive_a2a.sealed.errors import BrokenAnswerError

MORE: Final = 0
FINAL: Final = 1
REKEY_FRAMES: Final = 1 << 16
_FLAG_BYTES: Final = (bytes((MORE,)), bytes((FINAL,)))


class _AnswerKey:
    """One direction, one answer: the key of the next frame and its place."""

    __slots__ = ("_aead", "_key", "_label", "_place", "_suite")

    def __init__(self, suite: CipherSuite, key: bytes, label: bytes) -> None:
        self._suite = suite
        self._key = key
        self._aead = suite.aead(key)
        self._label = label
        self._place = 0

    def seal(self, plaintext: bytes, flag: bytes) -> bytes:
        """Seal the next frame."""
        sealed = self._aead.encrypt(self._suite.nonce(self._place), plaintext, flag + self._label)
        self._step()
        return sealed

    def open(self, ciphertext: bytes, flag: bytes) -> bytes:
        """Open what must be the next frame."""
        plaintext = self._aead.decrypt(
            self._suite.nonce(self._place), ciphertext, flag + self._label
        )
        self._step()
        return plaintext

    def _step(self) -> None:
        self._place += 1
        if self._place % REKEY_FRAMES == 0:
            self._key = next_key(self._suite, self._key)
            self._aead = self._suite.aead(self._key)


class AnswerSealer:
    """Writes the frames of one answer; the last is marked."""

    __slots__ = ("_key",)

    def __init__(self, suite: CipherSuite, answer_key: bytes, label: bytes) -> None:
        self._key = _AnswerKey(suite, answer_key, label)

    def frame(self, plaintext: bytes, *, final: bool) -> bytes:
        """Return the next frame."""
        flag = _FLAG_BYTES[final]
        return flag + self._key.seal(plaintext, flag)


class AnswerOpener:
    """Reads the frames of one answer, in order and to the end."""

    __slots__ = ("_key", "finished")

    def __init__(self, suite: CipherSuite, answer_key: bytes, label: bytes) -> None:
        self._key = _AnswerKey(suite, answer_key, label)
        self.finished = False

    def open(self, frame: bytes) -> bytes:
        """Return the plain text of the next frame.

        Raises:
            BrokenAnswerError: it is not the next frame of this answer.

        """
        flag = frame[:1]
        if self.finished or flag not in _FLAG_BYTES or len(frame) < 1 + TAG_BYTES:
            raise _broken()
        try:
            plaintext = self._key.open(frame[1:], flag)
        except InvalidTag:
            raise _broken() from None
        self.finished = flag == _FLAG_BYTES[FINAL]
        return plaintext

    def end(self) -> None:
        """Say that nothing follows.

        Raises:
            BrokenAnswerError: the last frame is missing.

        """
        if not self.finished:
            raise BrokenAnswerError(
                "An answer was cut.",
                why="The connection ended before the frame that is marked as the last.",
                fix="Ask for the task's state before sending anything again.",
            )


def event_of(frame: bytes) -> bytes:
    """Write a frame as one server-sent event."""
    return b"data: " + to_base64url(frame) + b"\n\n"


class FrameEvents:
    """Takes the frames out of an event stream, however it was cut into pieces on the way."""

    def __init__(self, event_bytes_max: int) -> None:
        self._rest = b""
        self._data = b""
        self._event_bytes_max = event_bytes_max

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the frames that are complete now.

        Raises:
            BrokenAnswerError: an event is no frame, or too large.

        """
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > self._event_bytes_max:
            raise _broken()
        return [frame for line in lines for frame in self._line(line.removesuffix(b"\r"))]

    def _line(self, line: bytes) -> list[bytes]:
        if line.startswith(b":"):
            return []
        if not line:
            data, self._data = self._data, b""
            return [_frame_of(data)] if data else []
        if self._data or not line.startswith(b"data:"):
            raise _broken()
        self._data = line[len(b"data:") :].strip()
        return []


def _frame_of(data: bytes) -> bytes:
    try:
        return from_base64url(data)
    except Base64Error:
        raise _broken() from None


def _broken() -> BrokenAnswerError:
    return BrokenAnswerError(
        "An answer does not open.",
        why="A frame was changed, moved, left out, or is of another answer.",
        fix="Ask for the task's state before sending anything again; look at what stands on the way.",
    )
