"""Which run has read what: one page for each task, and what a sandbox and a conversation carry on.

A sandbox remembers (a file, a global), and so does a conversation: a task that begins in one that has read from
outside begins with all of that. Only a fresh sandbox and a fresh conversation begin clean. A task that an agent sends
to another carries its page along, and the answer that comes back brings the other's.

Sandboxes are remembered for as long as they live. Of conversations those are forgotten first that have rested longest; one
that goes on afterwards is known by its history, and counts as having read.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from hive.core.call import Integrity, Label
from hive.core.ids import ContextId, SandboxId, TaskId
from hive.core.json import Json
from hive.security.labels.sinks import PASSES, Flow, judge
from hive.security.labels.sources import Outside, Words
from hive.security.labels.text import normalized
from hive.security.labels.traits import ToolTraits

PLACES_MAX: Final = 4096


@dataclass(slots=True)
class Page:
    """What one conversation in one sandbox has heard: from its user, and from outside."""

    words: Words = field(default_factory=Words)
    outside: Outside = field(default_factory=Outside)

    @property
    def label(self) -> Label:
        """Return the label of whatever the agent makes of it."""
        if not self.outside:
            return Label(integrity=Integrity.USER, sources=frozenset({"user"}))
        sources = frozenset({"user", *self.outside.sources})
        return Label(integrity=Integrity.EXTERNAL, sources=sources)


class FlowBook:
    """The high-water marks of a node; bounded, and what was forgotten counts as read."""

    def __init__(self, allowed: Callable[[], Iterable[str]] = tuple) -> None:
        self._allowed = allowed
        self._tasks: dict[TaskId, Page] = {}
        self._contexts: OrderedDict[ContextId, Outside] = OrderedDict()
        self._sandboxes: OrderedDict[SandboxId, Outside] = OrderedDict()
        self._said: dict[ContextId, Words] = {}
        self._context_of: dict[TaskId, ContextId] = {}
        self._forgot_sandbox = False

    def open(
        self,
        task: TaskId,
        *,
        sandbox: SandboxId,
        context: ContextId,
        words: str,
        trusted: bool,
        parent: TaskId | None = None,
        source: str = "message",
        goes_on: bool = False,
    ) -> None:
        """Begin or go on with a task. `trusted`: its words are those of a user of this node.

        A message of another agent is that agent's: with its parent's page come the user's words behind it, and
        everything that was read on the way.
        """
        above = None if parent is None else self._tasks.get(parent)
        said = self._said.get(context)
        if above is not None:
            said = above.words
        elif said is None:
            said = Words()
        self._said[context] = said
        unknown = goes_on and context not in self._contexts
        self._context_of[task] = context
        outside = self._met(sandbox, context)
        # A conversation that began before this node did has read what nobody can tell any more.
        outside.overflowed |= unknown
        page = Page(words=said, outside=outside)
        if above is not None:
            page.outside.merge(above.outside)
        if trusted or (above is not None and not above.outside):
            page.words.add(words)
        else:
            page.outside.hear(source, words)
        self._tasks[task] = page

    def _met(self, sandbox: SandboxId, context: ContextId) -> Outside:
        """Return what both have read; they meet in a task, so from now on they share it."""
        shared = self._sandboxes.get(sandbox)
        if shared is None:
            shared = Outside(overflowed=self._forgot_sandbox)
        shared.merge(self._contexts.get(context, shared))
        self._sandboxes[sandbox] = self._contexts[context] = shared
        self._sandboxes.move_to_end(sandbox)
        self._contexts.move_to_end(context)
        while len(self._sandboxes) > PLACES_MAX:
            self._sandboxes.popitem(last=False)
            self._forgot_sandbox = True
        self._forget_rested()
        return shared

    def _forget_rested(self) -> None:
        """Forget the conversations over the bound that have rested longest; none in which a task is under way."""
        over = len(self._contexts) - PLACES_MAX
        if over <= 0:
            return
        under_way = set(self._context_of.values())
        for one in tuple(islice((one for one in self._contexts if one not in under_way), over)):
            del self._contexts[one]
            self._said.pop(one, None)

    def hear(self, task: TaskId, source: str, answer: Json, *, listed: bool = False) -> None:
        """Take in what came back from outside, before the agent has it; `listed`: a line for each thing found."""
        page = self._tasks.get(task)
        if page is not None:
            page.outside.hear(source, answer, listed=listed)

    def lend(self, task: TaskId, answer: Json) -> None:
        """Take in what a source answered that the operator trusts as the user."""
        page = self._tasks.get(task)
        if page is not None:
            page.words.lend(answer)

    def page(self, task: TaskId | None) -> Page | None:
        """Return the page of a task that is under way."""
        return None if task is None else self._tasks.get(task)

    def judge(self, task: TaskId | None, traits: ToolTraits, arguments: Json) -> Flow:
        """Judge a call of a tool in a task; one without a page has no agent behind it."""
        page = self.page(task)
        if page is None:
            return PASSES
        allowed = frozenset(normalized(one) for one in self._allowed())
        return judge(traits, arguments, words=page.words, outside=page.outside, allowed=allowed)

    def about(self, task: TaskId | None, traits: ToolTraits, arguments: Json) -> dict[str, str]:
        """Return for each argument that picks by an id the name by which the user named it, for who decides."""
        page = self.page(task)
        if page is None:
            return {}
        named = {
            leaf.path.lstrip("/"): page.outside.named_by(leaf.value, page.words)
            for leaf in traits.leaves(arguments)
            if not page.words.name(leaf.value)
        }
        return {path: shown for path, shown in named.items() if shown}

    def close(self, task: TaskId) -> None:
        """End a task; its sandbox and its conversation keep what they have read."""
        self._tasks.pop(task, None)
        self._context_of.pop(task, None)

    def forget(self, sandbox: SandboxId) -> None:
        """Forget a sandbox that is gone."""
        self._sandboxes.pop(sandbox, None)
