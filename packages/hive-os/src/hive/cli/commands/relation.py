"""`hive relation`: who is related to what, and which relations follow from which."""

import sys
from pathlib import Path
from typing import Final
from urllib.parse import quote

import click

from hive.cli.client import segment
from hive.cli.completion import related_things, relation_names, relation_subjects
from hive.cli.render import table
from hive.cli.session import Options, say, shared_options, show, show_json
from hive.core.errors import BadInputError
from hive.core.ids import plain_text
from hive.web.relations import (
    RelatedView,
    RelationAnswer,
    RelationAsked,
    RelationLine,
    RelationModelView,
    RelationWriteOrder,
    RelationWritten,
)

MODEL_MAX_BYTES: Final = 1 << 20
_OBJECT: Final = click.argument("thing", metavar="OBJECT", shell_complete=related_things)
_RELATION: Final = click.argument("relation", shell_complete=relation_names)
_SUBJECT: Final = click.argument("subject", shell_complete=relation_subjects)


@click.group(help="Say who is related to what: users, agents, documents, tools.")
def relation() -> None:
    """Hold the verbs about relationships."""


@relation.group("model", help="Which relations there are, and which follow from which.")
def model() -> None:
    """Hold the verbs about the model."""


@model.command("show", help="Print the model in OpenFGA's language.")
@shared_options
def show_model(*, options: Options) -> int:
    """Print the model."""
    view = options.client().get("relation-model", RelationModelView)
    if options.json:
        show_json(view)
    elif view.model:
        show(plain_text(view.model, keep="\n").rstrip())
    else:
        show("There is no model.")
        say(options, "Next:  hive relation model load FILE")
    return 0


@model.command("load", help="Let the model in FILE count (OpenFGA schema 1.1, or its JSON form).")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@shared_options
def load_model(*, options: Options, file: Path) -> int:
    """Let a model count."""
    order = RelationModelView(model=_read(file))
    view = options.client().post("relation-model", RelationModelView, order)
    if options.json:
        show_json(view)
        return 0
    show(f"The model counts from revision {view.revision} on.")
    say(options, "Next:  hive relation add document:plan viewer user:ann")
    return 0


@relation.command("add", help="Write down that SUBJECT has RELATION to OBJECT.")
@_OBJECT
@_RELATION
@_SUBJECT
@click.option("--new", is_flag=True, help="Only if it is not written down yet.")
@click.option("--at", default="", metavar="REVISION", help="Only if nothing was written since.")
@shared_options
def add(*, options: Options, thing: str, relation: str, subject: str, new: bool, at: str) -> int:
    """Write a relationship down."""
    line = RelationLine(object=thing, relation=relation, subject=subject)
    order = RelationWriteOrder(added=(line,), absent=(line,) if new else (), at=at)
    return _write(options, order, "Written")


@relation.command("rm", help="Take a relationship away.")
@_OBJECT
@_RELATION
@_SUBJECT
@click.option("--there", is_flag=True, help="Only if it is written down.")
@click.option("--at", default="", metavar="REVISION", help="Only if nothing was written since.")
@shared_options
def remove(
    *, options: Options, thing: str, relation: str, subject: str, there: bool, at: str
) -> int:
    """Take a relationship away."""
    line = RelationLine(object=thing, relation=relation, subject=subject)
    order = RelationWriteOrder(removed=(line,), present=(line,) if there else (), at=at)
    return _write(options, order, "Taken away")


@relation.command("check", help="Ask whether SUBJECT has RELATION to OBJECT; 1 means no.")
@_OBJECT
@_RELATION
@_SUBJECT
@click.option("--at", default="", metavar="REVISION", help="The answer must be no older.")
@shared_options
def check(*, options: Options, thing: str, relation: str, subject: str, at: str) -> int:
    """Ask a question."""
    asked = RelationAsked(object=thing, relation=relation, subject=subject, at=at)
    return _told(options, options.client().post("relation-checks", RelationAnswer, asked))


@relation.command("explain", help="The same, with all that took part in the answer.")
@_OBJECT
@_RELATION
@_SUBJECT
@shared_options
def explain(*, options: Options, thing: str, relation: str, subject: str) -> int:
    """Ask a question and print why."""
    asked = RelationAsked(object=thing, relation=relation, subject=subject)
    return _told(options, options.client().post("relation-explanations", RelationAnswer, asked))


@relation.command("list", help="List what is written down.")
@click.option("--object", "thing", default="", help="Of an object, or of a type: `document:`.")
@click.option("--relation", default="", help="Of this relation.")
@click.option("--subject", default="", help="Of this subject.")
@shared_options
def list_written(*, options: Options, thing: str, relation: str, subject: str) -> int:
    """List relationships."""
    asked = (("object", thing), ("relation", relation), ("subject", subject))
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in asked if value)
    found = options.client().get(f"relations?{query}" if query else "relations", list[RelationLine])
    if options.json:
        for one in found:
            show_json(one)
        return 0
    rows = [(one.object, one.relation, one.subject) for one in found]
    for line in table(("OBJECT", "RELATION", "SUBJECT"), rows) if rows else ():
        show(line)
    if not rows:
        show("Nothing is written down.")
    return 0


@relation.command("objects", help="List the objects of TYPE to which SUBJECT has RELATION.")
@click.argument("kind", metavar="TYPE")
@_RELATION
@_SUBJECT
@shared_options
def objects(*, options: Options, kind: str, relation: str, subject: str) -> int:
    """List objects."""
    path = f"relation-objects/{segment(kind)}/{segment(relation)}?subject={quote(subject, safe='')}"
    view = options.client().get(path, RelatedView)
    if options.json:
        show_json(view)
        return 0
    for one in view.objects:
        show(one)
    if not view.objects:
        show("None.")
    if not view.complete:
        say(options, "There may be more: a bound was met.")
    return 0


def _write(options: Options, order: RelationWriteOrder, done: str) -> int:
    written = options.client().post("relations", RelationWritten, order)
    if options.json:
        show_json(written)
    else:
        show(f"{done}, revision {written.revision}.")
    return 0


def _told(options: Options, answer: RelationAnswer) -> int:
    if options.json:
        show_json(answer)
        return 0 if answer.allowed else 1
    for line in answer.lines:
        show(plain_text(line))
    if answer.fault:
        show(f"no answer, which is no yes: {plain_text(answer.fault)}")
    else:
        show(f"{'yes' if answer.allowed else 'no'}, at revision {answer.revision}")
    return 0 if answer.allowed else 1


def _read(file: Path) -> str:
    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(MODEL_MAX_BYTES).decode()
        with file.open("rb") as source:
            return source.read(MODEL_MAX_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{file} cannot be read.", why=str(error)) from error
