"""Labels at the gate: what a turn has heard is kept on its page, and what it wants to do is judged by it.

The pages and the rules are `hive.security.labels`; this module knows when a turn begins, hears and ends.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from hive.core.call import Call, Label, Obligation, ObligationKind, Refused, Verb
from hive.core.ids import ContextId, SandboxId, TaskId
from hive.core.json import Json, decode
from hive.core.task import Artifact, Message, Role, Task
from hive.kernel.jobs import TurnJob
from hive.kernel.letters import speaker
from hive.kernel.ports import PROVIDER_TOOLS, CallFacts
from hive.kernel.turns import RunningTurn
from hive.security.labels import FlowAnswer, FlowBook, ToolTraits, traits_of
from hive.security.labels.answers import document_of, running_text

log: Final = logging.getLogger(__name__)
UNREAD: Final = "an answer that could not be read"
FORGOTTEN: Final = (
    "not all that this conversation has read is known any more, so what nobody named counts as a "
    "stranger's; a new conversation begins clean"
)
_PERSONS: Final = ("operator", "client")


class Flows:
    """Keeps the pages of running turns and answers what they say of a call; asked as the check `labels`."""

    name = "labels"

    def __init__(self, book: FlowBook, *, enforced: bool = True) -> None:
        self._book = book
        self._enforced = enforced
        self.traits: Callable[[str], ToolTraits | None] = lambda _target: None
        self.trusts: Callable[[str], bool] = lambda _target: False

    def begin(self, turn: RunningTurn, job: TurnJob, history: Sequence[Message] = ()) -> None:
        """Open the page of a turn with what its caller said, in this message and before."""
        said = [_words_of(one) for one in history if one.role is Role.USER]
        principal = job.call.principal
        parent = job.ancestor_tasks[-1] if job.ancestor_tasks else None
        self._book.open(
            turn.task,
            sandbox=turn.sandbox,
            # A caller names its conversation itself, so two owners may name theirs alike.
            context=ContextId(f"{job.owner}\n{job.context}"),
            words="\n".join((*said, _words_of(job.message))),
            trusted=_speaks_for_itself(job.call),
            parent=parent,
            source=str(principal),
            # What a turn that runs again had said itself, or was said of it, is no earlier turn.
            goes_on=any(one.role is Role.USER or one.task_id != turn.task for one in history),
        )

    def hear(self, call: Call, frames: Sequence[bytes] | None, turn: RunningTurn | None) -> None:
        """Take in what came back for a call, before the agent can act on it."""
        if turn is None or not _brings_text(call):
            return
        traits = self._traits_of(call.target)
        quoted = traits.quotes or call.verb is not Verb.INVOKE
        said = None if call.verb is Verb.ASK else frames
        heard = [UNREAD] if said is None else _answers(said, quoted=quoted)
        if call.verb is Verb.INVOKE and self.trusts(call.target):
            for one in heard:
                self._book.lend(turn.task, one)
            return
        for one in heard:
            self._book.hear(turn.task, call.target, one, listed=traits.lists and not quoted)
        for ancestor in turn.ancestor_tasks:
            # Whoever waits may read along; what exactly is added when the turn ends.
            self._book.hear(ancestor, call.target, None)

    def hear_again(self, task: Task, turn: RunningTurn | None) -> None:
        """Take in an agent's answer that comes from the record: what it had read is not known any more.

        One that is still under way tells it when its turn ends.
        """
        if turn is None or not (task.state.terminal or task.state.interrupted):
            return
        told = [part.text for one in task.artifacts for part in one.parts if part.text]
        for heard in (None, *told):
            for waits in (turn.task, *turn.ancestor_tasks):
                self._book.hear(waits, f"agent:{task.agent}", heard)

    def end(self, turn: RunningTurn, artifacts: Iterable[Artifact] = ()) -> None:
        """Close a page; whoever waits for the answer has heard what this turn has heard."""
        page = self._book.page(turn.task)
        parent = turn.ancestor_tasks[-1] if turn.ancestor_tasks else None
        above = self._book.page(parent)
        if page is not None and above is not None and page.outside:
            above.outside.merge(page.outside)
            for artifact in artifacts:
                for part in artifact.parts:
                    if part.text:
                        above.outside.hear(f"agent:{turn.agent}", part.text)
        self._book.close(turn.task)

    def forget(self, sandbox: SandboxId) -> None:
        """Forget what a sandbox had read: it is gone."""
        self._book.forget(sandbox)

    def label(self, task: TaskId | None) -> tuple[Label, ...]:
        """Return the label of what a task's agent sends out."""
        page = self._book.page(task)
        return () if page is None else (page.label,)

    def examine(self, call: Call, facts: CallFacts) -> Refused | Obligation | None:
        """Refuse a call that strangers' text steers; put to a person what is unclear."""
        if call.verb not in (Verb.INVOKE, Verb.REACH) or not self._enforced:
            return None
        page = self._book.page(call.task)
        if call.principal.turn is not None and page is None:
            # Something in the sandbox calls before its turn has been handed over.
            return Refused(check=self.name, reason="what the turn that calls has read is not known")
        if call.verb is Verb.REACH:
            return None
        flow = self._book.judge(call.task, self._traits_of(call.target), facts.arguments.document)
        if flow.answer is FlowAnswer.PASS:
            return None
        lost = page is not None and page.outside.overflowed
        reason = f"{flow.reason} ({FORGOTTEN})" if lost else flow.reason
        if flow.answer is FlowAnswer.ASK:
            return Obligation(kind=ObligationKind.APPROVAL, check=self.name, detail=reason)
        return Refused(check=self.name, reason=reason, detail=f"rule {flow.rule}")

    def about(self, task: TaskId | None, target: str, arguments: bytes | None) -> dict[str, str]:
        """Tell which record an id of a call belongs to, while its turn runs; empty where nobody knows any more."""
        try:
            document = decode(arguments or b"null")
        except ValueError:
            return {}
        return self._book.about(task, self._traits_of(target), document)

    def _traits_of(self, target: str) -> ToolTraits:
        if target.rpartition(".")[2].startswith("@"):
            # A prompt or a resource of a server: read, and somebody's document.
            return ToolTraits(name=target, reads=True, acts=frozenset(), quotes=True)
        return self.traits(target) or traits_of(target)


def _brings_text(call: Call) -> bool:
    """Tell whether a call brings words of others; a model does where its provider looks elsewhere by itself."""
    if call.verb is Verb.ASK:
        return call.facts.get(PROVIDER_TOOLS) is True
    return call.verb in (Verb.INVOKE, Verb.REACH, Verb.RECALL)


def _speaks_for_itself(call: Call) -> bool:
    """Tell whether a person of this node speaks: an agent of another node arrives as a client, and is none."""
    return call.principal.is_person and speaker(call) in _PERSONS


def _words_of(message: Message) -> str:
    """Return all that a caller says: texts, which skill is asked for, and the values of forms."""
    skill = message.metadata.get("skillId")
    asked = [skill] if isinstance(skill, str) else []
    forms = [text for part in message.parts if part.has_data for text in _values(part.data)]
    return "\n".join((*asked, text_of(message), *forms))


def _values(form: Json) -> list[str]:
    if isinstance(form, dict):
        return [text for value in form.values() for text in _values(value)]
    if isinstance(form, list):
        return [text for value in form for text in _values(value)]
    return [str(form)] if isinstance(form, str | int | float) else []


def text_of(message: Message) -> str:
    """Return what a message says in words."""
    return "\n".join(part.text for part in message.parts if part.text)


def _answers(frames: Sequence[bytes], *, quoted: bool) -> list[Json]:
    """Return what an answer says: documents where it is structured, texts where it is prose or somebody's file."""
    try:
        frame = decode(b"".join(frames))
    except ValueError:
        return [UNREAD]
    if not isinstance(frame, dict):
        return [UNREAD]
    result = frame.get("result")
    if not isinstance(result, dict):
        return [frame]
    found: list[Json] = []
    structured = result.get("structuredContent")
    if structured is not None:
        found.append(structured)
    for text in _texts(result):
        document = None if quoted else document_of(text)
        if document is None:
            found.append(text)
        elif document != structured:
            found.append(document)
    return [running_text(one) for one in found] if quoted else found


def _texts(result: dict[str, Json]) -> list[str]:
    """Return every text of a tool's result, of a prompt's messages and of a resource's contents."""
    found: list[str] = []
    for key in ("content", "contents", "messages"):
        rows = result.get(key)
        for row in rows if isinstance(rows, list) else ():
            if not isinstance(row, dict):
                continue
            inner = row.get("content")
            place = inner if isinstance(inner, dict) else row
            texts = (place.get("text"), _field(place.get("resource"), "text"))
            found += [text for text in texts if isinstance(text, str)]
    return found


def _field(value: Json, key: str) -> Json:
    return value.get(key) if isinstance(value, dict) else None
