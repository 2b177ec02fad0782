"""Tetragon's `TracingPolicy`: the part of it that Hive's own enforcer holds to the letter.

Selectors are alternatives and the first that matches decides; filters in a selector all have to hold; a selector
without an action posts. The enforcer's rules only add up, with no order among them. So where an earlier selector
answers more mildly than a later one, the later one must be unable to meet what the earlier one met, or the policy is
refused. A selector's `matchBinaries` stays with that selector alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from hive.core.ids import plain_text, printable
from hive.core.kernel_rules import KernelAct, KernelAnswer, KernelRule
from hive.security.kernel_policy.agents import selector_of
from hive.security.kernel_policy.hooks import KPROBES, LSM_HOOKS, SYSCALLS, TCP_ONLY, KnownHook
from hive.security.kernel_policy.matches import Matched, matched_by
from hive.security.kernel_policy.outcome import ReadPolicy
from hive.security.kernel_policy.reader import YamlTable, refuse

API_VERSION: Final = "cilium.io/v1alpha1"
KIND: Final = "TracingPolicy"
SELECTORS_MAX: Final = 5
_STRENGTH: Final = {KernelAnswer.REPORT: 0, KernelAnswer.DENY: 1, KernelAnswer.KILL: 2}
_SIGKILL: Final = "9"
_EPERM: Final = "-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Selector:
    """One selector as it was read; `answer` is None where it wants nothing at all."""

    matched: tuple[Matched, ...]
    programs: tuple[str, ...]
    besides: bool
    answer: KernelAnswer | None
    line: int

    @property
    def strength(self) -> int:
        return -1 if self.answer is None else _STRENGTH[self.answer]


def read_tracing_policy(document: YamlTable) -> ReadPolicy:
    """Return what a document of the kind `TracingPolicy` becomes. Raises PolicyError."""
    name = _name(document)
    spec = document.table("spec")
    if spec is None:
        refuse("the policy has no spec", document.line, fix="Add spec.")
    document.done()
    agents = selector_of(spec.table("podSelector"))
    rules: list[KernelRule] = []
    for field, known in (("kprobes", None), ("lsmhooks", LSM_HOOKS)):
        for table in spec.tables(field):
            rules += _hook(table, f"{KIND}/{name}", known)
    for table in spec.tables("tracepoints"):
        rules += _tracepoint(table, f"{KIND}/{name}")
    spec.done()
    if not rules:
        refuse(
            "no hook of it wants anything",
            spec.line,
            fix="Add a kprobe, an lsmhook or a tracepoint.",
        )
    notes = {
        f"sys_{rule.syscall}: refused (EPERM), nobody is killed" for rule in rules if rule.syscall
    }
    return ReadPolicy(
        name=name,
        kind=KIND,
        agents=agents,
        kernel=tuple(sorted(set(rules))),
        notes=tuple(sorted(notes)),
    )


def _name(document: YamlTable) -> str:
    metadata = document.table("metadata")
    if metadata is None:
        refuse("the policy has no metadata", document.line, fix="Add metadata with a name.")
    name = metadata.needed("name")
    for ignored in ("labels", "annotations"):
        metadata.table(ignored)
    metadata.done()
    return plain_text(name[:120])


def _hook(table: YamlTable, name: str, known: "Mapping[str, KnownHook] | None") -> list[KernelRule]:
    call = table.needed("hook" if known is not None else "call")
    if known is None:
        known = SYSCALLS if table.flag("syscall", default=True) else KPROBES
    bare = call
    for prefix in ("__x64_", "__arm64_"):
        bare = bare.removeprefix(prefix)
    hook = known.get(bare)
    if hook is None:
        refuse(
            f"the hook {printable(call[:80])} is outside what Hive enforces",
            table.at("call"),
            fix=f"Use one of: {', '.join(sorted(known))}.",
        )
    table.text("message")
    types = _arguments(table)
    if table.flag("return", default=False):
        refuse("return is outside what Hive enforces", table.at("return"), fix="Remove it.")
    rules = _selected(table, hook, name, types, tcp=bare in TCP_ONLY)
    table.done()
    return rules


def _tracepoint(table: YamlTable, name: str) -> list[KernelRule]:
    subsystem, event = table.needed("subsystem"), table.needed("event")
    hook = SYSCALLS.get(f"sys_{event.removeprefix('sys_enter_')}")
    if subsystem != "syscalls" or not event.startswith("sys_enter_") or hook is None:
        refuse(
            f"the tracepoint {printable(subsystem[:40])}/{printable(event[:60])} is outside what Hive enforces",
            table.at("event"),
            fix="Use syscalls/sys_enter_mount and the like, or a kprobe.",
        )
    if hook.act is not KernelAct.SYSCALL:
        refuse(
            "a tracepoint cannot tell paths",
            table.at("event"),
            fix="Use the kprobe of that syscall.",
        )
    rules = _selected(table, hook, name, {}, tcp=False)
    table.done()
    return rules


def _arguments(table: YamlTable) -> dict[int, str]:
    types = {}
    for one in table.tables("args"):
        index = one.needed("index")
        if not (index.isascii() and index.isdigit() and len(index) < 3):
            refuse("an argument's index is a small number", one.at("index"), fix="Correct it.")
        types[int(index)] = one.needed("type")
        one.text("label")
        one.done()
    return types


def _selected(
    table: YamlTable, hook: KnownHook, name: str, types: Mapping[int, str], *, tcp: bool
) -> list[KernelRule]:
    tables = table.tables("selectors")
    if len(tables) > SELECTORS_MAX:
        refuse(
            f"a hook has at most {SELECTORS_MAX} selectors", tables[-1].line, fix="Split the hook."
        )
    if table.has("selectors") and not tables:
        refuse("selectors is empty", table.at("selectors"), fix="Remove it, or add one.")
    selectors = [_selector(one, hook, types) for one in tables] or [_EVERYTHING]
    rules = []
    for number, one in enumerate(selectors):
        one = _behind(one, selectors[:number])
        if one.answer is None:
            continue
        if hook.act is KernelAct.CONNECT and one.programs:
            refuse(
                "matchBinaries on a connection cannot be kept: it leaves by the node's door, which does not see the program",
                one.line or table.line,
                fix="Remove matchBinaries.",
            )
        if hook.syscall and one.answer is KernelAnswer.REPORT:
            refuse(
                f"{hook.syscall} is refused in every sandbox, and nobody is told: it cannot be posted",
                one.line or table.line,
                fix="Remove the hook, or say Sigkill.",
            )
        rules += [
            _rule(one, one.answer, matched, hook, name, tcp=tcp)
            for matched in one.matched or (Matched(),)
        ]
    if len(rules) > RULES_MAX:
        refuse(f"a hook becomes more than {RULES_MAX} rules", table.line, fix="Split it.")
    return rules


def _rule(
    one: _Selector, answer: KernelAnswer, matched: Matched, hook: KnownHook, name: str, *, tcp: bool
) -> KernelRule:
    everything = not matched.path and hook.act in _ON_PATHS
    return KernelRule(
        name=name,
        act=hook.act,
        answer=answer,
        path="/" if everything else matched.path,
        below=matched.below or everything,
        network=matched.network,
        ports=matched.ports,
        protocols=("tcp",) if tcp and hook.act is KernelAct.CONNECT else (),
        syscall=hook.syscall,
        programs=one.programs,
        besides=one.besides,
    )


_ON_PATHS: Final = (KernelAct.OPEN, KernelAct.EXECUTE)
RULES_MAX: Final = 4096
_EVERYTHING: Final = _Selector(
    matched=(), programs=(), besides=False, answer=KernelAnswer.REPORT, line=0
)


def _selector(table: YamlTable, hook: KnownHook, types: Mapping[int, str]) -> _Selector:
    matched = matched_by(table.tables("matchArgs"), hook, types)
    programs, besides = _binaries(table)
    answer = _action(table, hook)
    line = table.line
    table.done()
    return _Selector(matched=matched, programs=programs, besides=besides, answer=answer, line=line)


def _binaries(table: YamlTable) -> tuple[tuple[str, ...], bool]:
    tables = table.tables("matchBinaries")
    if len(tables) > 1:
        refuse("a selector has one matchBinaries", tables[1].line, fix="Use one, or two selectors.")
    if not tables:
        return (), False
    one = tables[0]
    operator, values = one.needed("operator"), one.texts("values")
    if operator not in ("In", "NotIn"):
        refuse(
            f"matchBinaries operator {printable(operator[:40])} is outside what Hive enforces",
            one.at("operator"),
            fix="Use In or NotIn with full paths.",
        )
    if one.flag("followChildren", default=False):
        refuse(
            "followChildren is outside what Hive enforces",
            one.at("followChildren"),
            fix="Remove it.",
        )
    one.done()
    if not values or any(not value.startswith("/") or "\0" in value for value in values):
        refuse(
            "matchBinaries holds full paths of programs", one.line, fix="Write each as /usr/bin/x."
        )
    return tuple(sorted(set(values))), operator == "NotIn"


def _action(table: YamlTable, hook: KnownHook) -> KernelAnswer | None:
    """Return the strongest answer of a selector's actions; None where it posts nothing."""
    answers: list[KernelAnswer] = []
    silent = False
    tables = table.tables("matchActions")
    for one in tables:
        action = one.needed("action")
        if action == "Post":
            answers.append(KernelAnswer.REPORT)
        elif action == "NoPost":
            silent = True
        elif action == "Sigkill" or (action == "Signal" and one.text("argSig") == _SIGKILL):
            answers.append(KernelAnswer.KILL)
        elif action == "Override" and hook.can_override and one.text("argError") == _EPERM:
            answers.append(KernelAnswer.DENY)
        else:
            refuse(
                f"the action {printable(action[:40])} is outside what Hive enforces on this hook",
                one.at("action"),
                fix="Use Post, NoPost, Sigkill, or Override with argError: -1 on file_open, bprm_check "
                "or socket_connect.",
            )
        one.done()
    if silent and answers:
        refuse(
            "NoPost beside another action cannot be kept: what is enforced is told",
            tables[0].line,
            fix="Remove NoPost.",
        )
    if silent:
        return None
    return max(answers, key=_STRENGTH.__getitem__, default=KernelAnswer.REPORT)


def _behind(one: _Selector, earlier: list[_Selector]) -> _Selector:
    """Return a selector that leaves alone what an earlier, milder one decided. Raises PolicyError."""
    for before in earlier:
        if before.strength >= one.strength or _apart(before, one):
            continue
        if before.matched or not before.programs or before.besides:
            refuse(
                f"the selector on line {before.line} is milder and decides first for some of what this one "
                "would refuse; Hive's rules have no order",
                one.line,
                fix="Make the two disjoint, or let the first name programs alone (matchBinaries In).",
            )
        if one.programs and not one.besides:
            left = tuple(sorted(set(one.programs) - set(before.programs)))
            # No program is left to refuse: an empty list would mean every one.
            one = replace(one, programs=left) if left else replace(one, answer=None)
        else:
            joined = tuple(sorted({*one.programs, *before.programs}))
            one = replace(one, programs=joined, besides=True)
    return one


def _apart(one: _Selector, other: _Selector) -> bool:
    """Tell whether nothing meets both."""
    if one.programs and other.programs:
        if not one.besides and not other.besides and not {*one.programs} & {*other.programs}:
            return True
        if one.besides != other.besides:
            among, without = (other, one) if one.besides else (one, other)
            if {*among.programs} <= {*without.programs}:
                return True
    return bool(
        one.matched
        and other.matched
        and all(ours.apart(theirs) for ours in one.matched for theirs in other.matched)
    )
