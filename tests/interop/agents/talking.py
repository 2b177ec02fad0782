"""Plain functions that do what a client can see: say, stream, ask back, hand out files, take their time."""

import time

import hive_guest


def echo(text: str) -> str:
    """Say it again."""
    return text


def counting(text: str):
    """Say numbers, one piece after the other."""
    for number in range(int(text)):
        yield f"{number} "
        time.sleep(0.05)


def asking(text: str) -> str:
    """Ask for a name, then greet."""
    past = hive_guest.turn().past()
    if not past:
        hive_guest.ask_input("What is your name?")
    return f"Hello {text}, you began with {past[0][1]}"


def producing(_text: str) -> str:
    """Hand out one artifact of each kind."""
    hive_guest.artifact("# Report", name="report", media_type="text/markdown")
    hive_guest.artifact(
        bytes(range(256)), filename="all.bin", media_type="application/octet-stream"
    )
    hive_guest.artifact(hive_guest.part(url="https://example.com/a?b=c"), name="page")
    hive_guest.artifact({"rows": [1, 2.5, None, "x"]}, name="table")
    return "done"


def slowly(text: str) -> str:
    """Take as many seconds as it is told."""
    time.sleep(float(text))
    return "rested"


def failing(_text: str) -> str:
    """Fail as programs do."""
    message = "no such invoice"
    raise LookupError(message)
