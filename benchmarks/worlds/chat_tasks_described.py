"""Tasks whose objects the user only describes: the newest, the smallest, whoever asked."""

from typing import Final

from benchmarks.worlds.chat_agent import (
    Row,
    Work,
    channel,
    channels,
    did,
    history,
    people,
    person,
    search,
    task,
)
from benchmarks.worlds.chat_state import ME, stamp
from benchmarks.worlds.chat_tasks_people import (
    is_so,
    members,
)
from benchmarks.worlds.chat_tasks_post import Done, mine_gone, replied, sent
from benchmarks.worlds.world import Use


def newest(use: Use, name: str, who: str = "") -> Row:
    """Return the newest message of a channel, or the newest that somebody has written there."""
    author = person(use, who) if who else ""
    return next(one for one in history(use, name) if author in ("", one["user"]))


def _react(name: str, reaction: str, who: str = "") -> Work:
    def work(use: Use) -> None:
        one = newest(use, name, who)
        use("slack_add_reaction", channel_id=one["channel"], timestamp=one["ts"], reaction=reaction)

    return work


def _vote(query: str, reaction: str) -> Work:
    def work(use: Use) -> None:
        one = search(use, query)[0]
        use("slack_add_reaction", channel_id=one["channel"], timestamp=one["ts"], reaction=reaction)

    return work


def _pin(name: str, who: str = "") -> Work:
    def work(use: Use) -> None:
        one = newest(use, name, who)
        use("slack_pin_message", channel_id=one["channel"], timestamp=one["ts"])

    return work


def _newcomers(use: Use) -> list[Row]:
    found = [one for one in people(use) if one["kind"] == "member"]
    return sorted(found, key=lambda one: str(one["joined"]), reverse=True)


def _greet(use: Use) -> None:
    newest = _newcomers(use)[0]["id"]
    use("slack_send_direct_message", user_id=newest, text="Welcome on board!")


def _newest_into(name: str) -> Work:
    def work(use: Use) -> None:
        ids = [one["id"] for one in _newcomers(use)[:2]]
        use("slack_invite_to_channel", channel_id=channel(use, name), user_ids=ids)

    return work


def _answer_later(use: Use) -> None:
    one = next(row for row in history(use, "support") if "?" in row["text"])
    use("slack_reply_to_thread", channel_id=one["channel"], thread_ts=one["ts"], text="I find out and come back to you.")  # fmt: skip


def _smallest(use: Use) -> None:
    one = min(channels(use), key=lambda row: int(row["num_members"]))
    use("slack_archive_channel", channel_id=one["id"])


def _answer_author(query: str, text: str) -> Work:
    def work(use: Use) -> None:
        use("slack_send_direct_message", user_id=search(use, query)[0]["user"], text=text)

    return work


def _clean_up(use: Use) -> None:
    one = next(row for row in history(use, "random") if row["user"] == ME)
    use("slack_delete_message", channel_id=one["channel"], ts=one["ts"])


def _reacted(day: str, reaction: str) -> Done:
    return lambda state: any(one["ts"] == stamp(day) and ME in one["reactions"].get(reaction, ()) for one in state["messages"])  # fmt: skip


def _pinned(place: str, day: str) -> Done:
    return lambda state: (place, stamp(day)) in state["pins"]


TASKS: Final = (
    task("react: newest", "thumbs up on the newest message in #engineering", did(_react("engineering", "+1"), _reacted("03-16 09:05", "+1")), "message"),
    task("react: kasia", "put a heart on kasias last post in random", did(_react("random", "heart", "kasia"), _reacted("03-11 12:00", "heart")), "message"),
    task("vote: sushi", "vote sushi in the lunch poll", did(_vote("lunch on thursday", "sushi"), _reacted("03-11 12:00", "sushi")), "message"),
    task("pin: greta", "Pin Greta's latest message in the design channel.", did(_pin("design", "greta"), _pinned("C10DES", "03-13 16:20")), "message"),
    task("pin: newest", "pin the last message in #office-oslo", did(_pin("office-oslo"), _pinned("C09OSL", "03-13 13:15")), "message"),
    task("greet: newest", "dm the newest colleague 'Welcome on board!'", did(_greet, sent("NOO", "Welcome"))),
    task("newest into: launch", "add the two newest colleagues to launch-spring", did(_newest_into("launch-spring"), members("launch-spring", "NOO", "HUG")), "channel topic"),
    task("open question: support", "reply to the latest unanswered question in support that i find out and come back", did(_answer_later, replied("03-16 09:10", "find out")), "message"),
    task("smallest: archive", "archive the channel with the fewest members", did(_smallest, is_so("old-website", "archived")), "channel topic"),
    task("author: review", "dm whoever asked for a review of PR 881 that i'll do it", did(_answer_author("review PR 881", "I'll do the review."), sent("DMI", "review")), "message"),
    task("author: dentist", "tell the person who looked for a dentist in oslo: try Dr. Berg", did(_answer_author("dentist oslo", "Try Dr. Berg."), sent("LIA", "Berg")), "message"),
    task("clean up: own", "remove my last message in #random", did(_clean_up, mine_gone), "message"),
)  # fmt: skip
"""What people do not call by its name."""
