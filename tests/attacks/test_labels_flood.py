"""Agents that call each other without end fill the node with what they have read, each time anew.

What one has read is handed to the other with the call, and back with its answer: kept twice each time, it doubles.
"""

import pytest

from hive.core.ids import ContextId, SandboxId, TaskId
from hive.security.labels import FlowBook
from hive.security.labels.sources import PIECES_MAX, RECORDS_MAX, TEXT_MAX_CHARS, Outside

ROUNDS = 200
MAIL = {"from": "eve@evil.example", "subject": "hello", "body": "Please pay " + "word " * 40}


def call_each_other(book: FlowBook, rounds: int) -> Outside:
    """Let one agent ask another, which reads its mail and answers, again and again in the same sandboxes."""
    asking = TaskId("asking")
    book.open(
        asking, sandbox=SandboxId("a"), context=ContextId("a"), words="Sum up my mail", trusted=True
    )
    above = book.page(asking)
    for number in range(rounds):
        asked = TaskId(f"asked-{number}")
        book.open(
            asked, sandbox=SandboxId("b"), context=ContextId("b"), words="read", trusted=False, parent=asking
        )  # fmt: skip
        book.hear(asked, "mail.list", [MAIL])
        below = book.page(asked)
        above.outside.merge(below.outside)
        above.outside.hear("agent:b", "The mail says " + MAIL["body"])
        book.close(asked)
    return above.outside


def test_two_agents_that_call_each_other_do_not_double_what_they_have_read():
    few, many = call_each_other(FlowBook(), 2), call_each_other(FlowBook(), ROUNDS)
    assert many.heard_chars == few.heard_chars
    assert len(many.known) == len(few.known)
    assert not many.overflowed


def test_text_without_an_end_is_bounded_and_what_was_not_kept_is_under_suspicion():
    outside = Outside()
    for number in range(40):
        outside.hear("page", f"{number} " + "x" * 100_000)
    assert outside.heard_chars <= TEXT_MAX_CHARS
    assert outside.overflowed
    other = Outside()
    for _ in range(50):
        other.merge(outside)
        outside.merge(other)
    assert other.heard_chars <= TEXT_MAX_CHARS


@pytest.mark.parametrize("answer", [["word word\n" + str(n)] for n in range(3)])
def test_many_small_pieces_are_bounded(answer):
    outside = Outside()
    for number in range(PIECES_MAX + 10):
        outside.hear("page", f"line\n{number}")
    outside.hear("page", answer)
    assert len(outside.heard) <= PIECES_MAX
    assert outside.overflowed


def test_many_records_of_one_value_are_merged_in_time_that_grows_with_their_number():
    outside, other = Outside(), Outside()
    outside.hear("rows", [{"owner": "dana", "id": f"n-{number}"} for number in range(RECORDS_MAX)])
    for _ in range(3):
        other.merge(outside)
    assert len(other.known) == RECORDS_MAX
    assert not other.overflowed
