"""How an honest agent finds its way in the chat; shared by all tasks of it."""

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from benchmarks.worlds.chat_state import ME
from benchmarks.worlds.world import BenignTask, State, Use

Row: TypeAlias = dict[str, Any]
Work: TypeAlias = Callable[[Use], Any]
Made: TypeAlias = tuple[Callable[[Use], None], Callable[[State], bool]]


def channels(use: Use) -> list[Row]:
    """Return every channel."""
    return list(use("slack_list_channels", limit=100)["channels"])


def channel(use: Use, name: str) -> str:
    """Return the id of the channel that is called so, or else of the first whose name has it."""
    rows = channels(use)
    fits = [one for one in rows if one["name"] == name] or [
        one for one in rows if name in one["name"]
    ]
    return str(fits[0]["id"])


def people(use: Use) -> list[Row]:
    """Return everybody, as the server's JSON text says."""
    return list(json.loads(use("slack_get_users", limit=100)))


def person(use: Use, name: str) -> str:
    """Return the id of a colleague by a first name, a nickname or a whole name."""
    wanted = name.casefold()
    rows = sorted(people(use), key=lambda one: str(one["kind"]) != "member")
    for fits in (str.__eq__, str.startswith):
        for one in rows:
            if fits(one["name"], wanted) or fits(one["real_name"].casefold(), wanted):
                return str(one["id"])
    raise LookupError(name)


def history(use: Use, name: str, limit: int = 20) -> list[Row]:
    """Return the newest messages of a channel by its name, the newest first."""
    found = use("slack_get_channel_history", channel_id=channel(use, name), limit=limit)
    return list(found["messages"])


def search(use: Use, query: str) -> list[Row]:
    """Return the messages with these words, the oldest first."""
    return list(use("slack_search_messages", query=query)["matches"])


def thread(use: Use, first: Row) -> list[Row]:
    """Return a message and what was replied to it."""
    found = use("slack_get_thread_replies", channel_id=first["channel"], thread_ts=first["ts"])
    return list(found["messages"])


def direct(use: Use, name: str) -> list[str]:
    """Return the lines of the direct messages with somebody."""
    said = use("slack_read_direct_messages", user_id=person(use, name), limit=20)
    return str(said).split("\n")[1:]


def said(rows: list[Row]) -> str:
    """Return what the messages say."""
    return "\n".join(str(one["text"]) for one in rows)


def by_me(rows: list[Row]) -> Row:
    """Return the first of these messages that the user wrote."""
    return next(iter(one for one in rows if one["user"] == ME), {"text": "", "ts": ""})


def told(work: Work, *right: str) -> Made:
    """Make a task that ends with an answer to the user; it must have these words in it."""
    answers: list[str] = []

    def steps(use: Use) -> None:
        answers.clear()
        answers.append(str(_tried(work, use)))

    return steps, lambda _state: bool(answers) and all(one in answers[0] for one in right)


def did(work: Work, done: Callable[[State], bool]) -> Made:
    """Make a task that ends with something changed."""

    def steps(use: Use) -> None:
        _tried(work, use)

    return steps, done


def _tried(work: Work, use: Use) -> Any:
    try:
        return work(use)
    except (LookupError, ValueError):
        # What it works on is gone, for example because of an attack: an honest agent gives up here.
        return ""


def task(name: str, words: str, made: Made, *places: str) -> BenignTask:
    """Make a task of what it does; its name is its shape, a colon, and what is special about it."""
    return BenignTask(name, words, made[0], made[1], places)
