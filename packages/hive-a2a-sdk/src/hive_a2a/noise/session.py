"""What two sides do with the keys of a handshake: sealed texts that may arrive in any order, each once.

**Number.** A direction has its own key and its own 64-bit number, sent with each text. Its upper 44 bits
are the *generation*, its lower 20 bits count within it from zero. All 64 bits are the nonce of the cipher,
and a number is never used twice, so no nonce is.

**Generations.** The key of generation 0 is the one that the handshake gave; the key of generation g+1 is
REKEY(key of g) of Noise (section 11.3: the first 32 bytes of 32 zero bytes sealed under the nonce 2^64-1
without associated data), so the number alone says which key opens it. Going on to the next
generation is the sender's choice, and needs no message: it takes the lowest number of the next generation.
It does so after `rekey_messages` (at most 2^20), `rekey_bytes` or `rekey_s`, whichever comes first.

**Receiver.** It keeps a replay window of `window` numbers for each generation. The first text of a higher
generation *that opens* makes that one the newest: the `old_generations_max` before it still open for
`grace_s`, for what was under way, then their keys are dropped. A text of a generation more than
`ahead_max` above the newest is refused before any work. Nothing a forger sends moves anything.

Forward secrecy: who steals the keys of now opens nothing of dropped generations, but all that follows. A
session ends after `lifetime_s` or `generations_max`; only the next handshake heals a theft.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag

from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.noise.cipher import KEY_BYTES, TAG_BYTES, CipherSuite, does_not_open, next_key
from hive_a2a.noise.errors import NoiseError, ReplayedError, SessionSpentError
from hive_a2a.noise.hybrid import AnyHandshake
from hive_a2a.noise.window import ReplayWindow

ID_BYTES: Final = 16
GENERATION_BITS: Final = 20  # fixed: both sides must cut the number at the same place
_COUNT_MASK: Final = (1 << GENERATION_BITS) - 1
_NUMBER_END: Final = 2**64


class SealedText(NamedTuple):
    """A sealed text and the number it is opened with."""

    nonce: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """How long keys and sessions live, and how far apart texts may arrive.

    `text_bytes_max` departs from the 65,535 bytes of a Noise transport message on purpose: a text is one
    HTTP body, and the ciphers take far more.
    """

    window: int = 1024
    rekey_messages: int = 1 << GENERATION_BITS
    rekey_bytes: int = 1 << 36
    rekey_s: float = 600.0
    grace_s: float = 60.0
    old_generations_max: int = 2
    ahead_max: int = 16
    generations_max: int = 1 << 16
    lifetime_s: float = 3600.0
    idle_s: float = 900.0
    text_bytes_max: int = 16 << 20

    def __post_init__(self) -> None:
        if not 1 <= self.rekey_messages <= 1 << GENERATION_BITS:
            raise NoiseError(f"rekey_messages is between 1 and {1 << GENERATION_BITS}.")
        if not 1 <= self.generations_max < 1 << (64 - GENERATION_BITS):
            raise NoiseError("generations_max is between 1 and 2^44 - 1.")
        if min(self.window, self.ahead_max) < 1 or self.old_generations_max < 0:
            raise NoiseError("window and ahead_max are at least 1, old_generations_max at least 0.")


class KeyGeneration:
    """One key of the receiving side, and which of its numbers were seen."""

    __slots__ = ("aead", "closes_at", "key", "window")

    def __init__(self, suite: CipherSuite, key: bytes, window: int) -> None:
        self.key = key
        self.aead = suite.aead(key)
        self.window = ReplayWindow(window)
        self.closes_at: float | None = None


class NoiseSession:
    """Two directions between two sides who have shaken hands; make one with `NoiseSession.of`."""

    def __init__(
        self,
        id: bytes,  # noqa: A002 - what it is called on the wire
        suite: CipherSuite,
        send_key: bytes,
        receive_key: bytes,
        hash: bytes,  # noqa: A002 - what Noise calls it
        remote_static: bytes | None,
        opened_at: float,
        *,
        initiator: bool,
        limits: SessionLimits,
        clock: WallClock | None = None,
        proved: bool = False,
    ) -> None:
        """Take the keys of a handshake; `opened_at` is of `clock.monotonic()`.

        `proved`: the other side is known to be there now; else the first text that opens proves it.

        Raises:
            NoiseError: the id has not 16 bytes, or a key has not 32.

        """
        if len(id) != ID_BYTES or {len(send_key), len(receive_key)} != {KEY_BYTES}:
            raise NoiseError(f"A session has an id of {ID_BYTES} bytes and keys of {KEY_BYTES}.")
        self.id = id
        self.suite = suite
        self.hash = hash
        self.remote_static = remote_static
        self.opened_at = opened_at
        self.used_at = opened_at
        self.initiator = initiator
        self.proved = proved
        self.limits = limits
        self._monotonic = (clock or MachineClock()).monotonic
        self._closed = False
        self._on_use: Callable[[bytes], None] | None = None
        self.ends_at = opened_at + limits.lifetime_s
        self._byte_order = suite.byte_order
        self._first_keys(send_key, receive_key)

    def _first_keys(self, send_key: bytes, receive_key: bytes) -> None:
        self._send_key = send_key
        self._send_aead = self.suite.aead(send_key)
        self._send_generation = 0
        self._send_next = 0
        self._send_until = self.limits.rekey_messages
        self._send_bytes = 0
        self._send_rekey_at = self.opened_at + self.limits.rekey_s
        self._newest = 0
        self._highest = 0
        self._forget_at = inf
        self._generations = {0: KeyGeneration(self.suite, receive_key, self.limits.window)}

    @classmethod
    def of(
        cls,
        handshake: AnyHandshake,
        id: bytes,  # noqa: A002 - what it is called on the wire
        *,
        limits: SessionLimits | None = None,
        clock: WallClock | None = None,
    ) -> "NoiseSession":
        """Make the session of a finished handshake, and drop the handshake's keys.

        Raises:
            NoiseError: it is not finished.

        """
        clock = clock or MachineClock()
        send_key, receive_key = handshake.split()
        session = cls(
            id,
            handshake.suite,
            send_key,
            receive_key,
            handshake.hash,
            handshake.remote_static,
            clock.monotonic(),
            initiator=handshake.initiator,
            limits=limits or SessionLimits(),
            clock=clock,
            proved=handshake.proved,
        )
        handshake.close()
        return session

    def __repr__(self) -> str:
        return f"NoiseSession({self.id.hex()}, generation={self._send_generation})"

    @property
    def closed(self) -> bool:
        """Tell whether its keys were dropped."""
        return self._closed

    @property
    def generation(self) -> int:
        """Return the generation of what was sealed last."""
        return self._send_generation

    @property
    def newest_received(self) -> int:
        """Return the highest generation that a text was opened of."""
        return self._newest

    def expired(self, now: float) -> bool:
        """Tell whether it is over at this moment of its clock: too old, unused too long, or closed."""
        return self._closed or now >= self.ends_at or now >= self.used_at + self.limits.idle_s

    def seal(self, plaintext: bytes, associated: bytes) -> SealedText:
        """Seal a text under the next number; `associated` is bound but not carried.

        Raises:
            SessionSpentError: the session is over: shake hands again.
            NoiseError: the text is too long.

        """
        now = self._monotonic()
        if self._closed or now >= self.ends_at:
            raise self._spent()
        if len(plaintext) > self.limits.text_bytes_max:
            raise NoiseError(
                "A text is too long to seal.",
                why=f"The limit is {self.limits.text_bytes_max} bytes.",
                fix="Raise `text_bytes_max` on both sides, or send it in parts.",
            )
        number = self._send_next
        if (
            number >= self._send_until
            or now >= self._send_rekey_at
            or self._send_bytes >= self.limits.rekey_bytes
        ):
            number = self._rekey(now)
        # The number is gone before it is used, so that nothing can make it be used again.
        self._send_next = number + 1
        self._send_bytes += len(plaintext)
        nonce = b"\x00\x00\x00\x00" + number.to_bytes(8, self._byte_order)
        data = self._send_aead.encrypt(nonce, plaintext, associated)
        self._used(now)
        return SealedText(number, data)

    def open(self, nonce: int, data: bytes, associated: bytes) -> bytes:
        """Open a text, once.

        Raises:
            SessionSpentError: the session is over: shake hands again.
            ReplayedError: it was opened before, or is too old to tell.
            NoiseError: it does not open. Nothing has changed.

        """
        now = self._monotonic()
        if self._closed or now >= self.ends_at:
            raise self._spent()
        if now >= self._forget_at:
            self.forget_old(now)
        if not 0 <= nonce < _NUMBER_END or len(data) > self.limits.text_bytes_max + TAG_BYTES:
            raise does_not_open()
        number = nonce >> GENERATION_BITS
        count = nonce & _COUNT_MASK
        generation = self._generations.get(number) or self._reach(number)
        if not generation.window.fresh(count):
            raise _replayed()
        try:
            plaintext = generation.aead.decrypt(
                b"\x00\x00\x00\x00" + nonce.to_bytes(8, self._byte_order), data, associated
            )
        except InvalidTag:
            raise does_not_open() from None
        generation.window.mark(count)
        if number > self._newest:
            self._advance(number, now)
        self.proved = True
        self._used(now)
        return plaintext

    def claim(self, nonce: int) -> bool:
        """Take a number without its text, which then never opens; False where it was taken before."""
        try:
            number = nonce >> GENERATION_BITS
            generation = self._generations.get(number) or self._reach(number)
        except NoiseError:
            return False
        count = nonce & _COUNT_MASK
        if self._closed or not generation.window.fresh(count):
            return False
        generation.window.mark(count)
        return True

    def forget_old(self, now: float) -> None:
        """Drop the keys of old generations whose grace is over."""
        self._forget_at = inf
        for number, generation in list(self._generations.items()):
            if generation.closes_at is None:
                continue
            if now >= generation.closes_at:
                del self._generations[number]
            else:
                self._forget_at = min(self._forget_at, generation.closes_at)

    def close(self) -> None:
        """Drop all keys; nothing is sealed or opened from here on."""
        if not self._closed:
            self._closed = True
            self._on_use = None
            del self._send_key, self._send_aead
            self._generations.clear()

    def watch(self, on_use: Callable[[bytes], None] | None) -> None:
        """Have somebody told, with the id, of each text that was sealed or did open."""
        self._on_use = on_use

    def _used(self, now: float) -> None:
        self.used_at = now
        if self._on_use is not None:
            self._on_use(self.id)

    def _rekey(self, now: float) -> int:
        """Go on to the next generation; return its first number."""
        generation = self._send_generation + 1
        if generation >= self.limits.generations_max:
            raise self._spent()
        self._send_key = next_key(self.suite, self._send_key)
        self._send_aead = self.suite.aead(self._send_key)
        self._send_generation = generation
        self._send_until = (generation << GENERATION_BITS) + self.limits.rekey_messages
        self._send_bytes = 0
        self._send_rekey_at = now + self.limits.rekey_s
        return generation << GENERATION_BITS

    def _reach(self, number: int) -> KeyGeneration:
        """Return a generation above the highest, making those between; a forger makes them only once."""
        if number <= self._highest:
            raise _replayed()  # its key is dropped
        if number > self._newest + self.limits.ahead_max or number >= self.limits.generations_max:
            raise does_not_open()
        key = self._generations[self._highest].key
        while self._highest < number:
            key = next_key(self.suite, key)
            self._highest += 1
            self._generations[self._highest] = KeyGeneration(self.suite, key, self.limits.window)
        return self._generations[number]

    def _advance(self, number: int, now: float) -> None:
        """Make a generation the newest, and let those below it end."""
        self._newest = number
        for one in [one for one in self._generations if one < number]:
            generation = self._generations[one]
            if one < number - self.limits.old_generations_max:
                del self._generations[one]
            elif generation.closes_at is None:
                generation.closes_at = now + self.limits.grace_s
        self.forget_old(now)

    def _spent(self) -> SessionSpentError:
        self.close()
        return SessionSpentError(
            "A session is over.",
            why="It has reached its age or its count, or was closed.",
            fix="Shake hands again.",
        )


Session = NoiseSession


def _replayed() -> ReplayedError:
    return ReplayedError(
        "A message was opened before, or is too old to tell.",
        why="Its number was seen, lies behind the window, or its key was dropped.",
        fix="Seal it again; each sealing has a number of its own.",
    )
