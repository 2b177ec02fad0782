"""`hive enforce`: what the kernel itself refuses sandboxes, by which rules, and whether it does."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hive.cli.client import segment
from hive.cli.completion import agent_names
from hive.cli.render import table
from hive.cli.session import Options, say, shared_options, show, show_json
from hive.core.errors import BadInputError
from hive.core.ids import plain_text

if TYPE_CHECKING:
    from hive.web.enforce import KernelPolicyLine, KernelRuleLine


@click.group(help="See and say what the kernel refuses agents, whatever their walls let through.")
def enforce() -> None:
    """Hold the verbs about the kernel's guard."""


@enforce.command("status", help="Tell what guards sandboxes here, and which policies stand.")
@shared_options
def status(*, options: Options) -> int:
    """Tell what guards."""
    from hive.web.enforce import EnforceStatus

    found = options.client().get("enforce", EnforceStatus)
    if options.json:
        show_json(found)
        return 0
    for step in found.steps:
        show(f"{'stands' if step.stands else 'no    '}  {step.name:<6}  {plain_text(step.detail)}")
    show(
        f"{found.sandboxes} sandboxes guarded; {found.house_rules} rules for all of them; "
        f"{found.met} times met, {found.lost} not told for lack of room."
    )
    _show_policies(found.policies)
    return 0


@enforce.command("test", help="Let a sandbox open a bait, and tell whether the kernel stopped it.")
@shared_options
def trial(*, options: Options) -> int:
    """Try it."""
    from hive.web.enforce import EnforceTrial

    found = options.client().post("enforce-trial", EnforceTrial, timeout_s=60.0)
    held = found.killed and found.told and not found.printed
    if options.json:
        show_json(found)
        return 0 if held else 1
    show(
        f"{'killed' if found.killed else 'NOT killed'} by {found.enforcer}: {plain_text(found.what)}"
    )
    show(f"{len(found.printed)} bytes read; signal {found.signal_after_us:g} us after the hook.")
    return 0 if held else 1


@enforce.command("explain", help="List the rules that stand for an agent.")
@click.argument("agent", shell_complete=agent_names)
@shared_options
def explain(*, options: Options, agent: str) -> int:
    """List the rules."""
    from hive.web.enforce import KernelRuleLine

    found = options.client().get(f"enforce-rules/{segment(agent)}", list[KernelRuleLine])
    _show_rules(options, found)
    return 0


@enforce.command("check", help="Read a policy file (Tetragon's TracingPolicy), without a node.")
@click.argument("file", type=click.Path(path_type=Path))
@shared_options
def check(*, options: Options, file: Path) -> int:
    """Read a policy file and tell what it becomes."""
    from hive.node.enforce_desk import policy_line, rule_line
    from hive.security.kernel_policy import KeptPolicy, read_policies

    read = read_policies(_bytes_of(file))
    if options.json:
        for one in read:
            show_json(
                {
                    "policy": policy_line(KeptPolicy(file=file.stem, policy=one)),
                    "rules": [rule_line(rule) for rule in one.kernel],
                }
            )
        return 0
    for one in read:
        show(f"{one.name}, for {one.agents.text}:")
        _show_rules(options, [rule_line(rule) for rule in one.kernel])
        for note in one.notes:
            show(f"note    {note}")
    return 0


@enforce.command("load", help="Let a policy file stand, for running agents too.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", default="", help="Its name here; the file's own without one.")
@shared_options
def load(*, options: Options, file: Path, name: str) -> int:
    """Let a policy file stand."""
    from hive.web.enforce import KernelPolicyLine, KernelPolicyOrder

    order = KernelPolicyOrder(name=name or file.stem.lower(), data=_bytes_of(file))
    found = options.client().post("enforce-policies", list[KernelPolicyLine], order)
    if options.json:
        for one in found:
            show_json(one)
        return 0
    _show_policies(found)
    say(options, f"Take it down:  hive enforce unload {order.name}")
    return 0


@enforce.command("unload", help="Let a policy file stand no longer.")
@click.argument("name")
@shared_options
def unload(*, options: Options, name: str) -> int:
    """Take a policy file down."""
    options.client().delete(f"enforce-policies/{segment(name)}")
    say(options, f"{plain_text(name)} stands no longer.")
    return 0


def _bytes_of(file: Path) -> bytes:
    from hive.security.kernel_policy.shelf import read_bounded

    try:
        return read_bounded(file)
    except OSError as error:
        raise BadInputError(f"{file} cannot be read.", why=str(error.strerror)) from error


def _show_policies(policies: "tuple[KernelPolicyLine, ...] | list[KernelPolicyLine]") -> None:
    rows = [(one.file, one.name, one.kind, one.agents, str(one.rules)) for one in policies]
    for line in table(("FILE", "POLICY", "KIND", "FOR", "RULES"), rows) if rows else ():
        show(line)
    for one in policies:
        for note in one.notes:
            show(f"note    {one.name}: {note}")


def _show_rules(options: Options, rules: "list[KernelRuleLine]") -> None:
    if options.json:
        for one in rules:
            show_json(one)
        return
    rows = [(one.rule, one.answer, one.act, one.what, one.programs) for one in rules]
    for line in table(("RULE", "ANSWER", "ACT", "WHAT", "PROGRAMS"), rows) if rows else ():
        show(line)
    if not rows:
        show("No rule stands.")
