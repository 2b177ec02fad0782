"""The handshake patterns of Noise (sections 7 and 18), as words: what is known before, then who sends what.

The first line of a pattern is the initiator's; they take turns. `IK` and `XX` are spoken on the wire
(and, in the experimental hybrid, `IKpsk2` and `XXpsk3`); the other rows are here because they run
through the same code, so that all their published vectors test it.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from hive_a2a.noise.errors import NoiseError

_TABLE: Final = {
    # name: initiator's key known before, responder's key known before, messages
    "N": ("", "s", "e es"),
    "K": ("s", "s", "e es ss"),
    "X": ("", "s", "e es s ss"),
    "NN": ("", "", "e", "e ee"),
    "NK": ("", "s", "e es", "e ee"),
    "NX": ("", "", "e", "e ee s es"),
    "KN": ("s", "", "e", "e ee se"),
    "KK": ("s", "s", "e es ss", "e ee se"),
    "KX": ("s", "", "e", "e ee se s es"),
    "XN": ("", "", "e", "e ee", "s se"),
    "XK": ("", "s", "e es", "e ee", "s se"),
    "XX": ("", "", "e", "e ee s es", "s se"),
    "IN": ("", "", "e s", "e ee se"),
    "IK": ("", "s", "e es s ss", "e ee se"),
    "IX": ("", "", "e s", "e ee se s es"),
    # The deferred ones (section 18.1): a 1 moves the proof of that side's key one message later.
    "NK1": ("", "s", "e", "e ee es"),
    "NX1": ("", "", "e", "e ee s", "es"),
    "X1N": ("", "", "e", "e ee", "s", "se"),
    "X1K": ("", "s", "e es", "e ee", "s", "se"),
    "XK1": ("", "s", "e", "e ee es", "s se"),
    "X1K1": ("", "s", "e", "e ee es", "s", "se"),
    "X1X": ("", "", "e", "e ee s es", "s", "se"),
    "XX1": ("", "", "e", "e ee s", "es s se"),
    "X1X1": ("", "", "e", "e ee s", "es s", "se"),
    "K1N": ("s", "", "e", "e ee", "se"),
    "K1K": ("s", "s", "e es", "e ee", "se"),
    "KK1": ("s", "s", "e", "e ee se es"),
    "K1K1": ("s", "s", "e", "e ee es", "se"),
    "K1X": ("s", "", "e", "e ee s es", "se"),
    "KX1": ("s", "", "e", "e ee se s", "es"),
    "K1X1": ("s", "", "e", "e ee s", "se es"),
    "I1N": ("", "", "e s", "e ee", "se"),
    "I1K": ("", "s", "e es s", "e ee", "se"),
    "IK1": ("", "s", "e s", "e ee se es"),
    "I1K1": ("", "s", "e s", "e ee es", "se"),
    "I1X": ("", "", "e s", "e ee s es", "se"),
    "IX1": ("", "", "e s", "e ee se s", "es"),
    "I1X1": ("", "", "e s", "e ee s", "se es"),
}
_NAME: Final = re.compile(r"([NKXI1]{1,4})((?:psk[0-9](?:\+psk[0-9])*)?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class HandshakePattern:
    """A pattern, ready to be walked: the tokens of each message, in order."""

    name: str
    initiator_known: bool
    responder_known: bool
    messages: tuple[tuple[str, ...], ...]

    @property
    def psks(self) -> int:
        """Return how many shared secrets it takes."""
        return sum(message.count("psk") for message in self.messages)

    @property
    def one_way(self) -> bool:
        """Tell whether only the initiator ever speaks."""
        return len(self.messages) == 1

    def sends_static(self, *, initiator: bool) -> bool:
        """Tell whether a side sends its static key in the handshake."""
        return any("s" in message for message in self.messages[0 if initiator else 1 :: 2])

    def known(self, *, initiator: bool) -> bool:
        """Tell whether a side's static key is known to the other before the handshake."""
        return self.initiator_known if initiator else self.responder_known


@lru_cache(maxsize=64)
def parse_pattern(name: str) -> HandshakePattern:
    """Return the pattern of a name such as `XX` or `IKpsk2`.

    Raises:
        NoiseError: it is not known.

    """
    found = _NAME.fullmatch(name)
    row = _TABLE.get(found[1]) if found else None
    if found is None or row is None:
        raise _unknown()
    messages = [message.split() for message in row[2:]]
    places = [int(word[3:]) for word in found[2].split("+") if word]
    if places != sorted(set(places)) or (places and places[-1] > len(messages)):
        raise _unknown()
    for place in reversed(places):
        if place:
            messages[place - 1].append("psk")
        else:
            messages[0].insert(0, "psk")
    return HandshakePattern(
        name=name,
        initiator_known=bool(row[0]),
        responder_known=bool(row[1]),
        messages=tuple(map(tuple, messages)),
    )


def _unknown() -> NoiseError:
    return NoiseError(
        "This handshake pattern is not known.",
        why="Known are those of Noise revision 34, and psk places as far as a pattern has messages.",
        fix="Use IK where the peer's key is known, else XX.",
    )
