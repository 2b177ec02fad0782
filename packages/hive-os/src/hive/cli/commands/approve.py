"""`hive approve`: calls that wait for a person's yes, and the rules that make them wait."""

import re
from typing import Final

import click
import msgspec

from hive.cli.client import segment
from hive.cli.completion import waiting_calls
from hive.cli.render import table
from hive.cli.session import Options, say, shared_options, show, show_json
from hive.core.errors import BadInputError, NotFoundError
from hive.core.ids import plain_text
from hive.web.approvals import (
    ApprovalDecision,
    ApprovalLine,
    ApprovalRuleLine,
    ConditionLine,
    Scalar,
)

ARGUMENTS_SHOWN_CHARS: Final = 400
_CONDITION: Final = re.compile(
    r"(?P<pointer>/\S*)\s*(?:(?P<operator>!=|[=<>~]|\bunder\b)\s*(?P<value>.*)|\s+exists)",
    re.DOTALL,
)


@click.group(help="Say yes or no to calls that wait for a person.", invoke_without_command=True)
@click.option("--watch", is_flag=True, help="Go on and print what comes.")
@shared_options
@click.pass_context
def approve(context: click.Context, *, options: Options, watch: bool) -> int:
    """List what waits unless a verb follows."""
    if context.invoked_subcommand is not None:
        return 0
    return _watch(options) if watch else _list(options)


@approve.command("list", help="List what waits.")
@shared_options
def list_waiting(*, options: Options) -> int:
    """List what waits."""
    return _list(options)


@approve.command("show", help="Print one question with all its arguments.")
@click.argument("approval")
@shared_options
def show_one(*, options: Options, approval: str) -> int:
    """Print one question whole."""
    found = _find(options, approval)
    if options.json:
        show_json(found)
    else:
        _show(found, whole=True)
    return 0


@approve.command("yes", help="Let a call happen, once, exactly as it was asked.")
@click.argument("approval", shell_complete=waiting_calls)
@click.option("--note", default="", help="Why, for the record.")
@click.option("--seen", is_flag=True, help="You have read arguments too long for the list.")
@shared_options
def yes(*, options: Options, approval: str, note: str, seen: bool) -> int:
    """Say yes."""
    found = _find(options, approval)
    if len(found.arguments) > ARGUMENTS_SHOWN_CHARS and not seen:
        raise BadInputError(
            "The list does not show all that this call asks with.",
            why=f"It has {len(found.arguments)} characters; whoever wrote them may count on that.",
            fix=f"hive approve show {found.id}     then: hive approve yes {found.id} --seen",
        )
    return _decide(options, approval, allow=True, note=note)


@approve.command("no", help="Refuse a call; whoever asked is told the note.")
@click.argument("approval", shell_complete=waiting_calls)
@click.option("--note", default="", help="Why; the caller reads it.")
@shared_options
def no(*, options: Options, approval: str, note: str) -> int:
    """Say no."""
    return _decide(options, approval, allow=False, note=note)


@approve.group("rules", help="Which calls have to wait.", invoke_without_command=True)
@shared_options
@click.pass_context
def rules(context: click.Context, *, options: Options) -> int:
    """List rules unless a verb follows."""
    if context.invoked_subcommand is not None:
        return 0
    return _show_rules(options, options.client().get("approval-rules", list[ApprovalRuleLine]))


@rules.command("list", help="List the rules.")
@shared_options
def list_rules(*, options: Options) -> int:
    """List rules."""
    return _show_rules(options, options.client().get("approval-rules", list[ApprovalRuleLine]))


@rules.command("add", help="Make calls of TARGET wait, e.g. `mail.*`, `files.write_file`.")
@click.argument("name")
@click.argument("target")
@click.option(
    "--verb",
    type=click.Choice(("invoke", "send", "reach", "ask")),
    default="invoke",
    show_default=True,
    help="invoke: a tool; send: an agent; reach: a host; ask: a model.",
)
@click.option("--agent", default="", help="Only calls of this agent (patterns know * and ?).")
@click.option("--owner", default="", help="Only calls for this owner.")
@click.option("--label", default="", help="Only calls that carry this label.")
@click.option(
    "--when",
    multiple=True,
    metavar="CONDITION",
    help="On arguments: '/amount > 100', '/path under /etc', '/to ~ @example.org$', '/force exists'.",
)
@click.option("--note", default="", help="What the person who decides should know.")
@click.option("--hold", type=float, default=-1.0, help="Seconds a call waits on its connection.")
@click.option("--expires", type=float, default=3600.0, show_default=True, help="Seconds.")
@shared_options
def add_rule(*, options: Options, name: str, target: str, **given: object) -> int:
    """Add a rule."""
    rule = ApprovalRuleLine(
        id=name,
        verb=given["verb"],  # type: ignore[arg-type]
        target=target,
        agent=str(given["agent"]),
        owner=str(given["owner"]),
        label=str(given["label"]),
        conditions=tuple(condition_of(text) for text in _texts(given["when"])),
        note=str(given["note"]),
        hold_s=float(str(given["hold"])),
        expires_s=float(str(given["expires"])),
    )
    found = options.client().post("approval-rules", list[ApprovalRuleLine], rule)
    return _show_rules(options, found)


@rules.command("rm", help="Take a rule away.")
@click.argument("name")
@shared_options
def remove_rule(*, options: Options, name: str) -> int:
    """Remove a rule."""
    options.client().delete(f"approval-rules/{segment(name)}")
    return _show_rules(options, options.client().get("approval-rules", list[ApprovalRuleLine]))


def condition_of(text: str) -> ConditionLine:
    """Read a condition such as `/amount > 100`.

    Raises:
        BadInputError: it has another form.

    """
    found = _CONDITION.fullmatch(text.strip())
    if found is None:
        raise BadInputError(
            f"{text!r} is no condition.",
            fix="Write a JSON pointer, a comparison (= != < > ~ under exists) and a value: '/amount > 100'",
        )
    line: dict[str, Scalar] = {"pointer": found["pointer"], "operator": "exists"}
    if operator := found["operator"]:
        value = _value(found["value"].strip(), plain=operator in ("~", "under"))
        line |= {"operator": operator, "value": value}
    return msgspec.convert(line, type=ConditionLine)


def _value(text: str, *, plain: bool) -> Scalar:
    if plain:
        return text
    try:
        return msgspec.json.decode(text, type=bool | int | float | str | None)
    except msgspec.MsgspecError:
        return text


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, tuple) else ()


def _list(options: Options) -> int:
    found = options.client().get("approvals", list[ApprovalLine])
    if options.json:
        for one in found:
            show_json(one)
        return 0
    for one in found:
        _show(one)
    if not found:
        show("Nothing waits for a yes.")
    elif any(one.state == "waiting" for one in found):
        say(options, "Next:  hive approve yes ID     or  hive approve no ID --note WHY")
    return 0


def _watch(options: Options) -> int:
    for one in options.client().lines("GET", "approvals/watch", ApprovalLine):
        if options.json:
            show_json(one)
        else:
            _show(one)
    return 0


def _find(options: Options, approval: str) -> ApprovalLine:
    """Return what waits under an id or the beginning of it, as the node will understand it."""
    waiting = options.client().get("approvals", list[ApprovalLine])
    found = [one for one in waiting if one.id == approval] or [
        one for one in waiting if approval and one.id.startswith(approval)
    ]
    if len(found) != 1:
        raise NotFoundError(
            f"{len(found) or 'Nothing'} waiting under {plain_text(approval)[:80]!r}.",
            fix="hive approve     lists what waits",
        )
    return found[0]


def _show(one: ApprovalLine, *, whole: bool = False) -> None:
    asked = plain_text(one.arguments)
    left_out = 0 if whole else len(asked) - ARGUMENTS_SHOWN_CHARS
    text = asked if left_out <= 0 else asked[:ARGUMENTS_SHOWN_CHARS]
    more = f" … {left_out} more characters: hive approve show {one.id}" if left_out > 0 else ""
    said = f"  by {one.decided_by}" if one.decided_by else ""
    show(f"{one.id}  {one.state}{said}")
    show(
        f"    {one.verb} {one.target}   asked {one.asked_at:%H:%M:%S} by {one.by}, for {one.owner}"
    )
    if one.task:
        show(f"    task {one.task}   see it: hive trace {one.task}")
    show(f"    with {text}{more}")
    for path, record in one.about.items():
        show(f"    {plain_text(path)} is of {plain_text(record)!r}")
    show(
        f"    rule {one.rule}{': ' + one.note if one.note else ''}   until {one.expires_at:%H:%M:%S}"
    )


def _decide(options: Options, approval: str, *, allow: bool, note: str) -> int:
    decision = ApprovalDecision(allow=allow, reason=note)
    made = options.client().post(f"approvals/{segment(approval)}", ApprovalLine, decision)
    if options.json:
        show_json(made)
    elif allow:
        show(f"{made.verb} {made.target} may happen once: now, or when its task asks again.")
    else:
        show(f"{made.verb} {made.target} is refused.")
    return 0


def _show_rules(options: Options, found: list[ApprovalRuleLine]) -> int:
    if options.json:
        for one in found:
            show_json(one)
        return 0
    if not found:
        show("No call needs a person's yes.")
        say(options, "Next:  hive approve rules add NAME 'mail.*'")
        return 0
    rows = [
        (
            one.id,
            one.verb,
            one.target,
            _who(one),
            " and ".join(map(_told, one.conditions)),
            one.note,
        )
        for one in found
    ]
    for line in table(("RULE", "VERB", "TARGET", "OF", "WHEN", "NOTE"), rows):
        show(line)
    return 0


def _who(rule: ApprovalRuleLine) -> str:
    named = (("agent", rule.agent), ("owner", rule.owner), ("label", rule.label))
    return " ".join(f"{what} {name}" for what, name in named if name) or "all"


def _told(condition: ConditionLine) -> str:
    value = "" if condition.operator == "exists" else f" {condition.value}"
    return f"{condition.pointer} {condition.operator}{value}"
