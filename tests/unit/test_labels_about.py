"""Who decides about a held call is told what an id stands for, in the words by which the user meant it."""

from hive.core.ids import ContextId, SandboxId, TaskId
from hive.security.labels import FlowAnswer, FlowBook, traits_of

TASK = TaskId("t")
FILES = [
    {"id": "1b69", "name": "Supplier payments"},
    {"id": "77ac", "name": "Gift ideas"},
]


def book_of(words: str) -> FlowBook:
    book = FlowBook()
    book.open(TASK, sandbox=SandboxId("s"), context=ContextId("c"), words=words, trusted=True)
    book.hear(TASK, "drive.list", FILES)
    return book


def test_an_id_is_shown_with_the_name_of_its_record():
    book = book_of("Get rid of the supplier payments sheet")
    arguments = {"file_id": "1b69", "other_id": "77ac"}
    assert book.about(TASK, traits_of("trash_file"), arguments) == {"file_id": "Supplier payments"}
    assert book.about(TaskId("gone"), traits_of("trash_file"), arguments) == {}


def test_an_action_nobody_asked_for_is_put_to_a_person_where_it_is_about_what_the_user_named():
    arguments = {"file_id": "1b69"}
    held = book_of("sequester the supplier payments").judge(
        TASK, traits_of("trash_file"), arguments
    )
    assert (held.answer, held.value) == (FlowAnswer.ASK, "Supplier payments")
    other = book_of("sequester the gift ideas").judge(TASK, traits_of("trash_file"), arguments)
    assert other.answer is FlowAnswer.REFUSE
    question = book_of("What is in the supplier payments?")
    assert question.judge(TASK, traits_of("trash_file"), arguments).answer is FlowAnswer.REFUSE
