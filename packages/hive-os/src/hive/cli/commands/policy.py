"""`hive policy`: what may happen call by call. Testing, asking, explaining and signing need no node."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import click
import msgspec

from hive.cli.client import segment
from hive.cli.render import table
from hive.cli.session import Options, say, shared_options, show, show_json
from hive.core.errors import BadInputError
from hive.core.ids import plain_text

if TYPE_CHECKING:
    from hive.security.policy import Bundle, PolicyQuestion
    from hive.security.policy.workbench import Worked
    from hive.web.policy import PolicyView

INPUT_MAX_BYTES: Final = 1 << 20
LOAD_TIMEOUT_S: Final = 120.0
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@click.group(help="Say which calls may happen: rules, their tests, what stands.")
def policy() -> None:
    """Hold the verbs about policy."""


@policy.command("show", help="Tell what stands.")
@shared_options
def show_policy(*, options: Options) -> int:
    """Tell what stands."""
    from hive.web.policy import PolicyView

    return _show_view(options, options.client().get("policy", PolicyView))


@policy.command("init", help="Write the shipped rules with their tests into DIR, to begin with.")
@click.argument("directory", type=click.Path(path_type=Path))
@shared_options
def init(*, options: Options, directory: Path) -> int:
    """Lay out the shipped rules."""
    from hive.security.policy.workbench import lay_out_shipped

    written = lay_out_shipped(directory)
    if options.json:
        show_json({"folder": str(directory), "files": written})
        return 0
    show(f"{written} files in {directory}.")
    say(options, f"Next:  hive policy test {directory}     then: hive policy load {directory}")
    return 0


@policy.command("test", help="Compile a bundle and run its tests, without a node.")
@click.argument("bundle", type=click.Path(path_type=Path))
@shared_options
def test_bundle(*, options: Options, bundle: Path) -> int:
    """Try a bundle."""
    from hive.security.policy import read_bundle
    from hive.security.policy.workbench import try_out

    report = anyio.run(try_out, read_bundle(bundle, fresh=True))
    if options.json:
        show_json(
            {
                "passed": report.passed,
                "problems": report.problems,
                "notes": report.notes,
                "tests": [
                    {"name": one.name, "file": one.file, "problem": one.problem}
                    for one in report.tests
                ],
            }
        )
        return 0 if report.passed else 1
    for one in report.tests:
        if one.problem or options.verbose:
            show(f"{'failed' if one.problem else 'passed'}  {one.name}  {one.file}")
        if one.problem:
            show(f"        {one.problem}")
    for problem in report.problems:
        show(f"problem {problem}")
    for note in report.notes:
        say(options, f"note    {note}")
    failed = sum(1 for one in report.tests if one.problem)
    show(f"{len(report.tests) - failed} tests passed, {failed} failed; {report.rules} rules.")
    return 0 if report.passed else 1


def _question_options(verb: Callable[..., int]) -> Callable[..., int]:
    for option in (
        click.argument("bundle", type=click.Path(path_type=Path), required=False),
        click.option(
            "--input",
            "file",
            default="",
            help="A question as JSON; - reads it from standard input.",
        ),
        click.option("--call", default="", help="A call of the record; this needs the node."),
        click.option(
            "--verb", default="invoke", show_default=True, help="send, invoke, ask, reach, ..."
        ),
        click.option(
            "--target", default="", help="The tool, agent, model or host, e.g. mail.send."
        ),
        click.option("--agent", default="some-agent", show_default=True, help="Who calls."),
        click.option("--owner", default="", help="For whom."),
        click.option("--arguments", default="", metavar="JSON", help="What the call asks with."),
        click.option("--facts", default="", metavar="JSON", help="What the door says of the call."),
    ):
        verb = option(verb)
    return verb


@policy.command("eval", help="Ask a bundle (or the shipped rules) one question, without a node.")
@_question_options
@shared_options
def eval_question(*, options: Options, bundle: Path | None, **asked: str) -> int:
    """Ask one question."""
    worked = _work(options, bundle, asked)
    decision = worked.decision
    if options.json:
        show_json(msgspec.json.decode(worked.explanation.document))
    else:
        _show_decision(worked)
    return 0 if decision.allow else 1


@policy.command("explain", help="The same, with the lines of rules that were looked at.")
@_question_options
@shared_options
def explain(*, options: Options, bundle: Path | None, **asked: str) -> int:
    """Ask one question and show what took part in its answer."""
    worked = _work(options, bundle, asked)
    lines = worked.explanation.lines
    if options.json:
        decision = msgspec.json.decode(worked.explanation.document)
        told = {file: [list(line) for line in found] for file, found in lines.items()}
        show_json({"decision": decision, "lines": told})
        return 0
    _show_decision(worked)
    for file, found in lines.items():
        show(f"\n{file}")
        for number, text in found:
            show(f"  {number:>4}  {plain_text(text.expandtabs(4))}")
    return 0


@policy.command(
    "diff", help="Ask a bundle what was asked of the one that stands; print what would change."
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--since", default="1d", show_default=True, help="How far back: 30m, 12h, 7d.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=10_000, show_default=True)
@shared_options
def diff(*, options: Options, bundle: Path, since: str, limit: int) -> int:
    """Compare a bundle with what was decided."""
    from hive.security.policy import read_bundle
    from hive.web.policy import PolicyDiff, PolicyDiffOrder, lines_of

    archive = read_bundle(bundle, fresh=True).archive()
    order = PolicyDiffOrder(archive=archive, since_s=seconds_of(since), limit=limit)
    found = options.client().post("policy-diff", PolicyDiff, order, timeout_s=LOAD_TIMEOUT_S)
    if options.json:
        show_json(found)
        return 1 if found.changes else 0
    head = ("CALLS", "VERB", "TARGET", "BY", "BEFORE", "AFTER", "EXAMPLE")
    if found.changes:
        for line in table(head, lines_of(found.changes)):
            show(line)
    untold = f", {found.untold} cannot be told" if found.untold else ""
    differ = found.asked - found.same - found.untold
    show(f"{found.asked} calls asked again: {found.same} the same, {differ} differ{untold}.")
    return 1 if found.changes else 0


@policy.command("load", help="Let a bundle stand, after its tests passed.")
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--default", "shipped", is_flag=True, help="Let the shipped rules stand again.")
@click.option("--older", is_flag=True, help="Even if a higher version stood before.")
@shared_options
def load(*, options: Options, bundle: Path | None, shipped: bool, older: bool) -> int:
    """Let a bundle stand."""
    from hive.security.policy import read_bundle
    from hive.web.policy import PolicyOrder, PolicyView

    if (bundle is None) is not shipped:
        raise BadInputError("Name a bundle, or --default.")
    archive = b"" if bundle is None else read_bundle(bundle).archive()
    order = PolicyOrder(archive=archive, older=older)
    view = options.client().post("policy", PolicyView, order, timeout_s=LOAD_TIMEOUT_S)
    return _show_view(options, view)


@policy.command("key", help="Make a pair of keys: FILE to sign with, FILE.pub to be trusted.")
@click.argument("file", type=click.Path(path_type=Path))
@shared_options
def key(*, options: Options, file: Path) -> int:
    """Make a pair of keys."""
    from hive.core.randomness import SystemRandomness
    from hive.security.policy.workbench import make_pair

    public = make_pair(file, SystemRandomness())
    if options.json:
        show_json({"private": str(file), "public": str(public)})
        return 0
    show(f"{file} signs; {public} goes into the node's folder of trusted keys.")
    return 0


@policy.command("sign", help="Write the manifest of a folder, its version one higher, and sign it.")
@click.argument("bundle", type=click.Path(path_type=Path, file_okay=False))
@click.option("--key", "key_file", type=click.Path(path_type=Path), required=True)
@click.option("--name", default="", help="The bundle's name; else that of its folder.")
@click.option("--version", type=click.IntRange(1), default=None, help="Else one more than before.")
@shared_options
def sign(*, options: Options, bundle: Path, key_file: Path, name: str, version: int | None) -> int:
    """Sign a folder."""
    from hive.security.policy.workbench import sign_in_place

    signed = sign_in_place(bundle, key_file, name=name, version=version or 0)
    if options.json:
        show_json({"version": signed.version, "digest": signed.digest})
        return 0
    show(f"{signed.version} is signed.")
    say(options, f"Next:  hive policy load {bundle}")
    return 0


def seconds_of(text: str) -> float:
    """Read a span such as `12h`. Raises BadInputError."""
    unit = _UNITS.get(text[-1:], 0.0)
    if not unit or not text[:-1].isascii() or not text[:-1].isdigit() or len(text) > 9:
        raise BadInputError(
            f"{plain_text(text)[:40]!r} is no span of time.", fix="Write 30m, 12h or 7d."
        )
    return int(text[:-1]) * unit


def _work(options: Options, bundle: Path | None, asked: dict[str, str]) -> "Worked":
    from hive.security.policy import read_bundle
    from hive.security.policy.standing import shipped_bundle
    from hive.security.policy.workbench import work_out

    found: Bundle = shipped_bundle() if bundle is None else read_bundle(bundle, fresh=True)
    return anyio.run(work_out, found, _question(options, asked))


def _question(options: Options, asked: dict[str, str]) -> "PolicyQuestion":
    from hive.security.policy import PolicyQuestion

    given: dict[str, object]
    if asked["call"]:
        given = options.client().get(
            f"policy-questions/{segment(asked['call'])}", dict[str, object]
        )
    elif asked["file"]:
        given = _object(_read(asked["file"]), "--input")
    elif asked["target"]:
        given = {"verb": asked["verb"], "target": asked["target"]}
        if asked["arguments"]:
            given["arguments"] = _json(asked["arguments"].encode(), "--arguments")
        if asked["facts"]:
            given["facts"] = _object(asked["facts"].encode(), "--facts")
    else:
        raise BadInputError(
            "There is no question.", fix="Name --target mail.send, or --input FILE."
        )
    agent = asked["agent"]
    who = {"kind": "agent", "name": agent, "agent": agent, "owner": asked["owner"]}
    now = datetime.now(UTC).isoformat()  # noqa: TID251  a person asks now
    whole = {
        "principal": who,
        "verb": "invoke",
        "target": "",
        "effect": "once",
        "time": now,
    } | given
    try:
        return msgspec.convert(whole, PolicyQuestion)
    except msgspec.ValidationError as error:
        raise BadInputError("That is no question.", why=str(error)) from error


def _read(file: str) -> bytes:
    try:
        if file == "-":
            return sys.stdin.buffer.read(INPUT_MAX_BYTES)
        with Path(file).open("rb") as source:
            return source.read(INPUT_MAX_BYTES)
    except OSError as error:
        raise BadInputError(f"{file} cannot be read.", why=str(error.strerror)) from error


def _json(data: bytes, option: str) -> object:
    try:
        found: object = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BadInputError(f"{option} is not JSON.", why=str(error)) from error
    return found


def _object(data: bytes, option: str) -> dict[str, object]:
    found = _json(data, option)
    if not isinstance(found, dict):
        raise BadInputError(f"{option} is no JSON object.")
    return found


def _show_decision(worked: "Worked") -> None:
    decision = worked.decision
    show("allowed" if decision.allow else "refused")
    for reason in decision.reasons:
        show(f"  because {reason}")
    for one in decision.obligations:
        show(f"  owing {one.kind.value}{': ' + one.detail if one.detail else ''}")


def _show_view(options: Options, view: "PolicyView") -> int:
    if options.json:
        show_json(view)
        return 0
    if view.version:
        signed = f", signed by {view.signer}" if view.signer else ", not signed"
        show(f"{view.version} stands ({view.source}{signed}) on {view.engine}")
        if view.since is not None:
            show(f"  since {view.since:%Y-%m-%d %H:%M:%S}; {len(view.rules)} files of rules")
    else:
        show("No policy stands: every call is refused.")
    if view.problem:
        show(f"  {plain_text(view.problem, keep=chr(10))}")
    if options.verbose:
        for name in view.rules:
            show(f"  {name}")
    return 0
