"""The Noise handshake, revision 34: two strangers, or two who know each other, get two keys and a hash.

    one = Handshake("IK", suite, initiator=True, prologue=p, static=own, remote_static=known)
    sent = one.write(b"")             # the other side reads it and writes back
    one.read(answer)
    send_key, receive_key = one.split()

Fails closed: after one message that does not open, or one call out of turn, the object is dead and
its keys are dropped. What this trusts: the primitives of `cryptography`, and the caller who says whose
static key it is talking to.
"""

from collections.abc import Sequence
from typing import Final

from hive_a2a.crypto import KeyPair
from hive_a2a.noise.cipher import (
    KEY_BYTES,
    TAG_BYTES,
    CipherState,
    CipherSuite,
    ExchangeKey,
    does_not_open,
)
from hive_a2a.noise.errors import NoiseError
from hive_a2a.noise.patterns import HandshakePattern, parse_pattern

MESSAGE_MAX_BYTES: Final = 65535


class SymmetricState:
    """The chaining key, the hash of all that was said, and the cipher of the moment."""

    __slots__ = ("_chaining_key", "_cipher", "_suite", "hash")

    def __init__(self, suite: CipherSuite, protocol_name: str) -> None:
        name = protocol_name.encode()
        short = len(name) <= suite.hash_bytes
        self._suite = suite
        self.hash = name.ljust(suite.hash_bytes, b"\x00") if short else suite.digest(name)
        self._chaining_key = self.hash
        self._cipher = CipherState(suite)

    @property
    def keyed(self) -> bool:
        """Tell whether what is sent now is encrypted."""
        return self._cipher.keyed

    def mix_key(self, secret: bytes) -> None:
        """Make what comes depend on a secret."""
        self._chaining_key, key = self._suite.derive(self._chaining_key, secret, 2)
        self._cipher.set_key(key[:KEY_BYTES])

    def mix_hash(self, data: bytes) -> None:
        """Make what comes depend on something both know."""
        self.hash = self._suite.digest(self.hash + data)

    def mix_key_and_hash(self, secret: bytes) -> None:
        """Make what comes depend on a shared secret, and its knowledge show in the hash."""
        self._chaining_key, mixed, key = self._suite.derive(self._chaining_key, secret, 3)
        self.mix_hash(mixed)
        self._cipher.set_key(key[:KEY_BYTES])

    def seal(self, plaintext: bytes) -> bytes:
        """Encrypt and hash in."""
        ciphertext = self._cipher.encrypt(plaintext, self.hash)
        self.mix_hash(ciphertext)
        return ciphertext

    def open(self, ciphertext: bytes) -> bytes:
        """Decrypt and hash in."""
        plaintext = self._cipher.decrypt(ciphertext, self.hash)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """Return the initiator's sending key and the responder's."""
        first, second = self._suite.derive(self._chaining_key, b"", 2)
        return first[:KEY_BYTES], second[:KEY_BYTES]


class Handshake:
    """One side of one handshake; `write` and `read` take turns until it is `finished`."""

    def __init__(
        self,
        pattern: str,
        suite: CipherSuite,
        *,
        initiator: bool,
        prologue: bytes = b"",
        static: KeyPair | None = None,
        remote_static: bytes | None = None,
        psks: Sequence[bytes] = (),
        ephemeral: KeyPair | None = None,
    ) -> None:
        """Begin.

        `psks` are used in the order of their places; one that is known only later comes by `add_psk`.
        `ephemeral` is for published test vectors alone: a key that is used twice breaks everything.

        Raises:
            NoiseError: the pattern is not known, needs a key that is missing or takes none.

        """
        self._pattern = parse_pattern(pattern)
        self._suite = suite
        self._initiator = initiator
        _check_keys(self._pattern, suite, static, remote_static, initiator=initiator)
        self._static = static
        self._ephemeral: ExchangeKey | None = None
        self._fixed = ephemeral
        self._remote_static = remote_static
        self._remote_ephemeral: bytes | None = None
        self._psks: list[bytes] = []
        self._psks_used = 0
        for psk in psks:
            self.add_psk(psk)
        self._turn = 0
        self._dead = False
        self._state: SymmetricState | None = _first_state(
            self._pattern, suite, prologue, static, remote_static, initiator=initiator
        )

    @property
    def finished(self) -> bool:
        """Tell whether all messages were exchanged."""
        return not self._dead and self._turn == len(self._pattern.messages)

    @property
    def failed(self) -> bool:
        """Tell whether this handshake is dead."""
        return self._dead

    @property
    def writes_next(self) -> bool:
        """Tell whether it is this side's turn to write."""
        return not (self._dead or self.finished) and (self._turn % 2 == 0) == self._initiator

    @property
    def initiator(self) -> bool:
        """Tell whether this side began."""
        return self._initiator

    @property
    def suite(self) -> CipherSuite:
        """Return the primitives in use."""
        return self._suite

    @property
    def remote_static(self) -> bytes | None:
        """Return the other's static key: once read it is proved to be theirs only when `finished`."""
        return None if self._dead else self._remote_static

    @property
    def proved(self) -> bool:
        """Tell whether the finished handshake proves that the other side is there now.

        It does, save for who answers in a pattern of two messages: the first one may be a recording. Then
        the first text that opens proves it, since a recording knows none of the new keys.
        """
        turns = len(self._pattern.messages)
        return self.finished and (turns > 2 or (turns == 2 and self._initiator))

    @property
    def hash(self) -> bytes:
        """Return the hash of the whole finished handshake: the same on both sides, different each time.

        Raises:
            NoiseError: it is not finished.

        """
        return self._finished_state().hash

    def add_psk(self, psk: bytes) -> None:
        """Give the next shared secret, before its place in the pattern is reached.

        Raises:
            NoiseError: it has not 32 bytes, or the pattern takes no more.

        """
        if len(psk) != KEY_BYTES or len(self._psks) >= self._pattern.psks:
            raise NoiseError(
                "A shared secret is not taken.",
                why=f"The pattern takes {self._pattern.psks}, of {KEY_BYTES} bytes each.",
                fix="Derive 32 bytes, and name the place in the pattern (IKpsk2).",
            )
        self._psks.append(psk)

    def write(self, payload: bytes) -> bytes:
        """Return the next message, with a payload in it.

        How well the payload is protected depends on the message (Noise, section 7.7): in the first of
        IK it can be replayed by anybody, in the first of XX it is readable.

        Raises:
            NoiseError: it is not this side's turn, a key is missing or the message is too long.

        """
        state = self._enter(writing=True)
        try:
            tokens = self._pattern.messages[self._turn]
            parts = [self._write_token(state, token) for token in tokens]
            message = b"".join((*parts, state.seal(payload)))
        except NoiseError as error:
            raise self._ended(error) from None
        if len(message) > MESSAGE_MAX_BYTES:
            raise self._ended(_too_long())
        self._leave()
        return message

    def read(self, message: bytes) -> bytes:
        """Return the payload of the other's next message.

        Raises:
            NoiseError: it does not open, or comes out of turn. The handshake is dead.

        """
        state = self._enter(writing=False)
        if len(message) > MESSAGE_MAX_BYTES:
            raise self._ended(_too_long())
        try:
            at = 0
            for token in self._pattern.messages[self._turn]:
                at += self._read_token(state, token, message, at)
            payload = state.open(message[at:])
        except NoiseError as error:
            raise self._ended(error) from None
        self._leave()
        return payload

    def split(self) -> tuple[bytes, bytes]:
        """Return this side's sending key and its receiving key.

        Raises:
            NoiseError: the handshake is not finished.

        """
        first, second = self._finished_state().split()
        return (first, second) if self._initiator else (second, first)

    def close(self) -> None:
        """Drop all keys; nothing works from here on."""
        self._ended(_out_of_turn())

    def _enter(self, *, writing: bool) -> SymmetricState:
        """Return the state where it is this side's turn; dead until `_leave`, whatever breaks between."""
        over = self._dead or self.finished
        if self._state is None or over or self.writes_next != writing:
            raise self._ended(_out_of_turn())
        self._dead = True
        return self._state

    def _leave(self) -> None:
        self._dead = False
        self._turn += 1
        if self._turn == len(self._pattern.messages):
            self._static = self._ephemeral = self._fixed = None
            self._psks.clear()

    def _ended(self, error: NoiseError) -> NoiseError:
        self._dead = True
        self._state = self._static = self._ephemeral = self._fixed = None
        self._psks.clear()
        return error

    def _finished_state(self) -> SymmetricState:
        if self._state is None or not self.finished:
            raise _out_of_turn()
        return self._state

    def _write_token(self, state: SymmetricState, token: str) -> bytes:
        if token == "e":  # noqa: S105 - a word of the pattern
            self._ephemeral = own = (
                self._suite.private(self._fixed.private)
                if self._fixed
                else self._suite.new_private()
            )
            return self._mixed_ephemeral(state, own.public_key().public_bytes_raw())
        if token == "s":  # noqa: S105 - a word of the pattern
            return state.seal(self._own_static().public)
        self._mix_token(state, token)
        return b""

    def _read_token(self, state: SymmetricState, token: str, message: bytes, at: int) -> int:
        """Take a token's bytes off a message; return how many they were."""
        if token not in ("e", "s"):
            self._mix_token(state, token)
            return 0
        size = self._suite.exchange_bytes
        if token == "s" and state.keyed:  # noqa: S105 - a word of the pattern
            size += TAG_BYTES
        data = message[at : at + size]
        if len(data) != size:
            raise does_not_open()
        if token == "e":  # noqa: S105 - a word of the pattern
            self._remote_ephemeral = self._mixed_ephemeral(state, data)
        else:
            self._remote_static = state.open(data)
        return size

    def _mixed_ephemeral(self, state: SymmetricState, public: bytes) -> bytes:
        state.mix_hash(public)
        if self._pattern.psks:  # else equal secrets would give equal keys (Noise, section 9.2)
            state.mix_key(public)
        return public

    def _mix_token(self, state: SymmetricState, token: str) -> None:
        if token == "psk":  # noqa: S105 - a word of the pattern
            if self._psks_used == len(self._psks):
                raise _no_psk()
            state.mix_key_and_hash(self._psks[self._psks_used])
            self._psks_used += 1
            return
        # Of the two letters the first is the initiator's key, the second the responder's.
        own, other = (token[0], token[1]) if self._initiator else (token[1], token[0])
        private = self._ephemeral if own == "e" else self._suite.private(self._own_static().private)
        public = self._remote_ephemeral if other == "e" else self._remote_static
        assert private is not None  # noqa: S101 - no pattern uses a key before it is there
        assert public is not None  # noqa: S101
        state.mix_key(self._suite.shared(private, public))

    def _own_static(self) -> KeyPair:
        assert self._static is not None  # noqa: S101 - looked at when the handshake began
        return self._static


def _first_state(
    pattern: HandshakePattern,
    suite: CipherSuite,
    prologue: bytes,
    static: KeyPair | None,
    remote_static: bytes | None,
    *,
    initiator: bool,
) -> SymmetricState:
    state = SymmetricState(suite, f"Noise_{pattern.name}_{suite.name}")
    state.mix_hash(prologue)
    own = static.public if static else None
    for side in (True, False):
        public = own if side == initiator else remote_static
        if pattern.known(initiator=side) and public is not None:
            state.mix_hash(public)
    return state


def _check_keys(
    pattern: HandshakePattern,
    suite: CipherSuite,
    static: KeyPair | None,
    remote_static: bytes | None,
    *,
    initiator: bool,
) -> None:
    known, sent = pattern.known(initiator=initiator), pattern.sends_static(initiator=initiator)
    if (known or sent) and static is None:
        raise NoiseError(
            f"The pattern {pattern.name} needs a static key of this side.",
            fix="Pass `static`.",
        )
    if pattern.known(initiator=not initiator) != (remote_static is not None):
        raise NoiseError(
            f"The pattern {pattern.name} does not fit what is known of the other side.",
            why="IK needs the other's static key before; XX learns it.",
            fix="Pass `remote_static` with IK, and not with XX.",
        )
    if remote_static is not None and len(remote_static) != suite.exchange_bytes:
        raise NoiseError(f"A static public key has {suite.exchange_bytes} bytes.")


def _out_of_turn() -> NoiseError:
    return NoiseError(
        "This handshake does not go on.",
        why="It has failed, has ended, or the other side is to speak.",
        fix="Begin a new one.",
    )


def _too_long() -> NoiseError:
    return NoiseError(
        "A handshake message is too long.",
        why=f"Noise allows {MESSAGE_MAX_BYTES} bytes.",
        fix="Send the payload after the handshake.",
    )


def _no_psk() -> NoiseError:
    return NoiseError(
        "A shared secret is missing.",
        why="The pattern comes to its place, and none was given.",
        fix="Pass `psks`, or call `add_psk` before.",
    )
