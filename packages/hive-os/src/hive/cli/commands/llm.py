"""`hive llm`: model providers and the names under which agents ask for models."""

import sys
from collections.abc import Iterator
from typing import Final

import click

from hive.cli.client import segment
from hive.cli.errors import EXIT_FAILED
from hive.cli.render import one_line, state, table
from hive.cli.session import Options, moving, say, shared_options, show, show_json, took
from hive.core.errors import ConfigError
from hive.core.settings import variable
from hive.web.llm import (
    LlmOrder,
    LlmOverview,
    LlmProvider,
    LlmQuestion,
    LlmRoute,
    LlmTried,
)

TEST_TIMEOUT_S: Final = 90.0
KEY_MAX_CHARS: Final = 16 << 10
MODELS_SHOWN_MAX: Final = 4


@click.group(help="Add, list, test and route model providers.")
def llm() -> None:
    """Hold the verbs about model providers."""


@llm.command("add", help="Add a provider: by its name alone (openai, ollama, ...) or with its URL.")
@click.argument("name")
@click.argument("url", default="")
@click.option("--key-from-stdin", is_flag=True, help="Read the key; without echo on a terminal.")
@click.option("--key-env", metavar="VAR", help="Take the key from this variable, once.")
@click.option("--key", "secret", metavar="SECRET", help="Use a secret of the vault by its name.")
@click.option("--wires", metavar="LIST", help="What it speaks, such as chat,embeddings.")
@click.option(
    "--set", "settings", metavar="OPTION=VALUE", multiple=True, help="A limit, such as idle_s=60."
)
@shared_options
def add(
    *,
    options: Options,
    name: str,
    url: str,
    key_from_stdin: bool,
    key_env: str | None,
    secret: str | None,
    wires: str | None,
    settings: tuple[str, ...],
) -> int:
    """Add a provider."""
    if sum((key_from_stdin, bool(key_env), bool(secret))) > 1:
        raise click.UsageError("Give the key in one way only.")
    limits = dict(_limit(one) for one in settings)
    if wires:
        limits["wires"] = wires
    order = LlmOrder(
        name=name,
        url=url,
        key=read_secret("Key") if key_from_stdin else _from_variable(key_env),
        secret=secret or "",
        options=limits,
    )
    made = options.client().post("llm", LlmProvider, order)
    if options.json:
        show_json(made)
        return 0
    known = f"{len(made.models)} models" if made.models else "it named no model"
    show(f"{made.name}   {made.url}   {', '.join(made.wires)}, {known}")
    say(options, f"Next:  hive llm test {made.name}     then  hive llm use ALIAS {made.name}/MODEL")
    return 0


@llm.command("list", help="List providers and routes, and how they do.")
@shared_options
def list_providers(*, options: Options) -> int:
    """List providers and routes."""
    found = options.client().get("llm", LlmOverview)
    if options.json:
        for one in (*found.providers, *found.routes):
            show_json(one)
        return 0
    for line in _overview_lines(found):
        show(line)
    return 0


@llm.command("test", help="Really ask a provider something tiny; all of them without a name.")
@click.argument("name", default="")
@click.option("--model", default="", help="The model to ask; else a small one that it names.")
@shared_options
def test(*, options: Options, name: str, model: str) -> int:
    """Ask providers; exit 1 when one does not answer."""
    client = options.client()
    names = [name] if name else [one.name for one in client.get("llm", LlmOverview).providers]
    failed = False
    for each in names:
        with moving(options, f"asking {each}"):
            found = client.post(
                f"llm/{segment(each)}/test",
                LlmTried,
                LlmQuestion(model=model),
                timeout_s=TEST_TIMEOUT_S,
            )
        failed = failed or not found.ok
        if options.json:
            show_json(found)
        else:
            for line in _tried_lines(found):
                show(line)
    return EXIT_FAILED if failed else 0


@llm.command("rm", help="Take a provider away, and the key that came with it.")
@click.argument("name")
@shared_options
def remove(*, options: Options, name: str) -> int:
    """Take a provider away."""
    options.client().delete(f"llm/{segment(name)}")
    if options.json:
        show_json({"removed": name})
    else:
        show(f"{name} is gone.")
    return 0


@llm.command(
    "use", help="Lead a model's name to TARGETs (upstream/model); the first that answers is taken."
)
@click.argument("alias")
@click.argument("targets", nargs=-1)
@click.option("--rm", "away", is_flag=True, help="Take the route away.")
@shared_options
def use(*, options: Options, alias: str, targets: tuple[str, ...], away: bool) -> int:
    """Route a name."""
    if bool(targets) == away:
        raise click.UsageError("Name one or more targets, or take the route away with --rm.")
    route = LlmRoute(alias=alias, targets=list(targets))
    options.client().post("routes", LlmRoute, route)
    if options.json:
        show_json(route)
    else:
        show(f"{alias} is routed no more." if away else f"{alias} → {', then '.join(targets)}")
    return 0


@llm.command("models", help="List the names that an agent may ask for.")
@shared_options
def models(*, options: Options) -> int:
    """List names."""
    found = options.client().get("llm/models", list[str])
    if options.json:
        show_json(found)
        return 0
    for name in found or ["No name yet: hive llm add openai --key-from-stdin"]:
        show(one_line(name))
    return 0


def read_secret(what: str) -> str:
    """Read a secret: from a person without showing it, else the first line of standard input."""
    if sys.stdin.isatty():
        text: str = click.prompt(what, hide_input=True, err=True)
    else:
        text = sys.stdin.readline(KEY_MAX_CHARS)
    text = text.strip()
    if not text:
        raise ConfigError(
            "There is nothing on standard input.",
            why="The key was expected there.",
            fix='printf %s "$KEY" | hive llm add openai --key-from-stdin',
        )
    return text


def _from_variable(name: str | None) -> str:
    if not name:
        return ""
    text = variable(name)
    if not text:
        raise ConfigError(
            f"The variable {name} is empty or not set.",
            why="--key-env takes the key from there.",
            fix=f"export {name}=...     or use --key-from-stdin",
        )
    return text


def _limit(text: str) -> tuple[str, int | float | str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise click.UsageError(f"{text!r} is not OPTION=VALUE.")
    try:
        return name, float(value) if "." in value else int(value)
    except ValueError:
        return name, value


def _overview_lines(found: LlmOverview) -> Iterator[str]:
    rows = (
        (
            one.name,
            one.state,
            took(one.first_byte_ms) or "-",
            f"{one.answered}/{one.failed}",
            ",".join(one.wires) or "-",
            one_line(one.url, 60),
            (one.problem and one_line(one.problem, 80)) or _few(one.models),
        )
        for one in found.providers
    )
    yield from table(("NAME", "STATE", "LATENCY", "OK/FAILED", "WIRES", "URL", "MODELS"), rows)
    if found.routes:
        yield ""
        routes = (
            (one_line(one.alias, 60), one_line(", then ".join(one.targets), 120))
            for one in found.routes
        )
        yield from table(("ALIAS", "LEADS TO"), routes)


def _few(names: list[str]) -> str:
    shown = ", ".join(one_line(name, 40) for name in names[:MODELS_SHOWN_MAX])
    more = len(names) - MODELS_SHOWN_MAX
    return f"{shown}, and {more} more" if more > 0 else shown or "-"


def _tried_lines(found: LlmTried) -> Iterator[str]:
    if found.ok:
        tokens = (
            f"{found.input_tokens} tokens in, {found.output_tokens} out"
            if found.input_tokens is not None
            else "it names no tokens"
        )
        model = one_line(found.model, 60)
        yield f"{found.name:<12} {state('ok')}   {model}   {took(found.took_ms)}   {tokens}"
        return
    model = f"   {one_line(found.model, 60)}" if found.model else ""
    yield f"{found.name:<12} {state('failed')}{model}   {one_line(found.problem)}"
    yield f"             Fix:  {one_line(found.fix)}"
