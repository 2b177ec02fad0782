"""A node that has seen ten thousand conversations works as on its first day, and forgets nothing that matters."""

from hive.core.ids import ContextId, SandboxId, TaskId
from hive.security.labels import FlowAnswer, FlowBook, traits_of
from hive.security.labels.book import PLACES_MAX

MANY = 10_000
LETTER = {"to": "eve@evil.example", "body": "hello"}


def begin(book: FlowBook, number: int, *, goes_on: bool = False, sandbox: str = "") -> TaskId:
    task = TaskId(f"t{number}")
    book.open(
        task,
        sandbox=SandboxId(sandbox or f"s{number}"),
        context=ContextId(f"c{number}"),
        words="Send a mail to dana@example.com",
        trusted=True,
        goes_on=goes_on,
    )
    return task


def end(book: FlowBook, number: int) -> None:
    book.close(TaskId(f"t{number}"))
    book.forget(SandboxId(f"s{number}"))


def test_the_ten_thousandth_conversation_begins_clean():
    book = FlowBook()
    for number in range(MANY):
        task = begin(book, number)
        book.hear(task, "mail.read", "a mail of a stranger")
        end(book, number)
    last = begin(book, MANY)
    assert not book.page(last).outside
    assert book.judge(last, traits_of("mail.send"), LETTER).answer is FlowAnswer.PASS
    assert len(book._contexts) == len(book._said) == PLACES_MAX
    assert len(book._sandboxes) == 1


def test_a_conversation_that_was_forgotten_and_goes_on_has_read():
    book = FlowBook()
    for number in range(MANY):
        begin(book, number)
        end(book, number)
    old = begin(book, 0, goes_on=True, sandbox="fresh")
    assert book.page(old).outside.overflowed
    assert book.judge(old, traits_of("mail.send"), LETTER).answer is FlowAnswer.REFUSE


def test_who_speaks_again_and_again_is_not_forgotten():
    book = FlowBook()
    task = begin(book, 0)
    book.hear(task, "mail.read", "a mail of a stranger")
    book.close(task)
    for number in range(1, MANY):
        begin(book, number)
        end(book, number)
        if number % 1000 == 0:
            again = begin(book, 0, goes_on=True)
            assert book.page(again).outside.sources == {"mail.read"}
            assert not book.page(again).outside.overflowed
            book.close(again)


def test_a_conversation_whose_task_is_under_way_is_not_forgotten():
    book = FlowBook()
    long = begin(book, 0)
    for number in range(1, MANY):
        begin(book, number)
        end(book, number)
    book.hear(long, "mail.read", "a mail of a stranger")
    beside = TaskId("beside")
    book.open(
        beside,
        sandbox=SandboxId("other"),
        context=ContextId("c0"),
        words="",
        trusted=True,
        goes_on=True,
    )
    assert book.page(beside).outside.sources == {"mail.read"}


def test_a_sandbox_that_lives_is_not_forgotten_by_many_conversations():
    book = FlowBook()
    task = begin(book, 0, sandbox="lives")
    book.hear(task, "mail.read", "a mail of a stranger")
    book.close(task)
    for number in range(1, MANY):
        begin(book, number)
        end(book, number)
    later = begin(book, MANY, sandbox="lives")
    assert book.page(later).outside.sources == {"mail.read"}
