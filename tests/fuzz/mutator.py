"""Makes new bytes of good ones: a seed, a budget of time, and the case that broke something in the message.

`FUZZ_SECONDS` is the time for one target; `FUZZ_SEED` repeats a run.
"""

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence

SECONDS = float(os.environ.get("FUZZ_SECONDS", "2"))  # noqa: TID251 - parameters of a measurement
SEED = int(os.environ.get("FUZZ_SEED", "0")) or time.time_ns()  # noqa: TID251
GRAINS = (
    b"", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\r\n", b"\r\n\r\n", b"\n", b"\t", b" ", b"{", b"}", b"[",
    b"]", b'"', b"'", b"\\", b"\\u0000", b"\\ud800", b"null", b"true", b"-0", b"1e999", b"-1",
    b"9" * 40, b"A" * 300, b"[" * 200, b'{"a":' * 100, b"..", b"/", b"//", b"%00", b"%2e%2e", b"*", b">", b"@",
    b":", b"[::1]", b"127.0.0.1", "\u202e".encode(), "\u2028".encode(), b"\x1b[31m", b"\x7f\x45\x4c\x46",
)  # fmt: skip
ODD = (
    None,
    True,
    False,
    0,
    -1,
    1 << 70,
    0.5,
    "",
    "\0",
    "\ud800",
    "x" * 300,
    [],
    {},
    [[]],
    {"": {}},
)


def mutations(good: Sequence[bytes], dice: random.Random) -> Iterator[bytes]:
    """Yield bytes without end: good ones with some of their bytes or values made odd."""
    while True:
        data = dice.choice(good)
        if dice.random() < 0.4:
            data = _odd_value(data, dice)
        for _ in range(dice.choice((0, 1, 1, 2, 4))):
            data = _odd_bytes(data, dice)
        yield data[: 1 << 20]


def _odd_value(data: bytes, dice: random.Random) -> bytes:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return data
    places = list(_places(document))
    if places:
        holder, key = dice.choice(places)
        action = dice.random()
        if action < 0.7:
            holder[key] = dice.choice(ODD)
        elif action < 0.85 and isinstance(holder, dict):
            holder[dice.choice(("x", "type", "id", "__class__"))] = holder.pop(key)
        else:
            holder[key] = [holder[key]] * dice.choice((2, 50))
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _places(value: object) -> Iterator[tuple[dict | list, str | int]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in list(inner):
        yield value, key
        if isinstance(one, dict | list):
            yield from _places(one)


def _odd_bytes(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data) + 1)
    to = min(len(data), at + dice.choice((0, 1, 2, 8, 64)))
    kind = dice.randrange(5)
    if kind == 0:
        return data[:at] + dice.choice(GRAINS) + data[to:]
    if kind == 1:
        return data[:at] + data[to:]
    if kind == 2:
        return data[:at] + data[at:to] * dice.choice((2, 30)) + data[to:]
    if kind == 3:
        return data[:at]
    return data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]


def fuzz(
    good: Sequence[bytes],
    target: Callable[[bytes], object],
    *,
    allowed: type[Exception] | tuple[type[Exception], ...],
) -> int:
    """Feed a target for its time; an exception that is not allowed ends the test with its input."""
    dice = random.Random(SEED)
    ends_at = time.monotonic() + SECONDS
    count = passed = 0
    for data in mutations(good, dice):
        try:
            target(data)
            passed += 1
        except allowed:
            pass
        except Exception as error:
            error.add_note(f"FUZZ_SEED={SEED} case {count}: {data[:2000]!r}")
            raise
        count += 1
        if time.monotonic() > ends_at:
            break
    assert passed, "nothing got through: the good inputs are not good"
    assert passed < count, "nothing was refused: nothing was mutated"
    return count
