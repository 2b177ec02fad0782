"""Runs what a client offers, one feature after the other, and tells in a JSON line what came of each.

Only the standard library: each client has an environment of its own, and this file is copied beside it.
"""

import json
import time
from importlib.metadata import version

HELLO = "Say hello."
HELLO_ANSWER = "Hello from behind the gate, one word after the other."
QUESTION = "How many people live in Bern?"
FOUND = "134000 people"
LOOKED_UP = "I looked it up"
RECORD = "Describe Bern as a record."
CALLS_MAX = 60
TOLD_MAX_CHARS = 300


class NotOfferedError(Exception):
    """The client has no such feature; the message says what is known of it."""


def people_in(city: str) -> str:
    """Tell how many people live in a city."""
    return f"{FOUND} live in {city}"


def tell(distributions, features):
    """Run the features in order; return the lines."""
    lines = [{"versions": {name: version(name) for name in distributions}}]
    lines += [_outcome(name, feature) for name, feature in features.items()]
    return "\n".join(json.dumps(line) for line in lines)


def _outcome(name, feature):
    began = time.monotonic()
    try:
        outcome, told = "passed", feature()
    except NotOfferedError as reason:
        outcome, told = "not offered", str(reason)
    except Exception as error:  # noqa: BLE001, whatever it is, it is told
        outcome, told = "failed", f"{type(error).__name__}: {error}"
    took_ms = round((time.monotonic() - began) * 1000)
    told = " ".join(str(told or "").split())[:TOLD_MAX_CHARS]
    return {"feature": name, "outcome": outcome, "told": told, "took_ms": took_ms}


def said_hello(text):
    """Hold that a plain answer is whole."""
    if text.strip() != HELLO_ANSWER:
        raise AssertionError(f"the answer is {text!r}")
    return "whole"


def streamed_hello(pieces):
    """Hold that an answer came in pieces and is whole."""
    pieces = [piece for piece in pieces if piece]
    said_hello("".join(pieces))
    if len(pieces) < 4:
        raise AssertionError(f"only {len(pieces)} pieces")
    return f"{len(pieces)} pieces"


def looked_up(text):
    """Hold that the tool ran and its result reached the model and came back."""
    if LOOKED_UP not in text or FOUND not in text or "Bern" not in text:
        raise AssertionError(f"the answer is {text!r}")
    return "asked, ran, answered"


def is_bern(name, people):
    """Hold that a typed answer has its fields."""
    if (name, people) != ("Bern", 134000):
        raise AssertionError(f"the record is {name!r}, {people!r}")
    return "typed"


def refused(ask):
    """Ask until the budget is spent; hold that the client tells of a limit (429)."""
    for _number in range(CALLS_MAX):
        try:
            ask()
        except Exception as error:
            if not any(_limits(one) for one in _chain(error)):
                raise
            return type(error).__name__
    raise AssertionError(f"{CALLS_MAX} calls and never refused")


def _limits(error):
    codes = (getattr(error, name, None) for name in ("status_code", "code", "status"))
    # Some frameworks keep nothing of an error but its text.
    return 429 in codes or "Hive refused this call" in str(error)


def _chain(error):
    while error is not None:
        yield error
        yield from getattr(error, "exceptions", ())
        error = error.__cause__ or error.__context__
