"""`hive secret`: keys go into the vault and never come out of it on a screen."""

from pathlib import Path

import click

from hive.cli.client import segment
from hive.cli.commands.llm import read_secret
from hive.cli.render import table
from hive.cli.session import Options, moving, say, shared_options, show, show_json
from hive.core.errors import StateError
from hive.web.secrets import SecretLine, SecretOrder, SecretsRotated


@click.group(help="Keep keys in the vault.")
def secret() -> None:
    """Hold the verbs about secrets."""


@secret.command("set", help="Keep a secret, read from standard input or asked for without echo.")
@click.argument("name")
@shared_options
def set_secret(*, options: Options, name: str) -> int:
    """Keep a secret."""
    order = SecretOrder(name=name, value=read_secret(name))
    options.client().post("secrets", object, order)
    if options.json:
        show_json({"set": name})
        return 0
    show(f"{name} is kept.")
    say(options, f"Next:  hive llm add openai --key {name}")
    return 0


@secret.command("list", help="List names and dates; values are never shown.")
@shared_options
def list_secrets(*, options: Options) -> int:
    """List secrets."""
    found = options.client().get("secrets", list[SecretLine])
    if options.json:
        for one in found:
            show_json(one)
        return 0
    rows = (
        (
            one.name,
            f"{one.set_at:%Y-%m-%d %H:%M}",
            f"{one.used_at:%Y-%m-%d %H:%M}" if one.used_at else "never",
            ", ".join(one.used_by) or "-",
        )
        for one in found
    )
    for line in table(("NAME", "SET", "LAST USED", "BY"), rows) if found else ["No secret yet."]:
        show(line)
    return 0


@secret.command("rm", help="Forget a secret.")
@click.argument("name")
@shared_options
def remove(*, options: Options, name: str) -> int:
    """Forget a secret."""
    options.client().delete(f"secrets/{segment(name)}")
    if options.json:
        show_json({"removed": name})
    else:
        show(f"{name} is gone.")
    return 0


@secret.command("rotate", help="Seal all secrets under a new key; or change the master key itself.")
@click.option(
    "--new-master-key-file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Wrap everything with the key in this file; the node must not run.",
)
@shared_options
def rotate(*, options: Options, file: Path | None) -> int:
    """Change keys."""
    if file is not None:
        return _change_master_key(options, file)
    done = options.client().post("secrets/rotate", SecretsRotated)
    if options.json:
        show_json(done)
    else:
        show(f"{done.secrets} secrets are sealed under a new key.")
    return 0


def _change_master_key(options: Options, file: Path) -> int:
    if options.client().alive():
        raise StateError(
            "A node runs on this state folder.",
            why="It holds the present master key in its memory.",
            fix="hive down     and then the same again",
        )
    from hive.cli import node_entry

    with moving(options, "wrapping all keys anew"):
        done = node_entry.change_master_key(options.settings(), file.absolute())
    if options.json:
        show_json(done)
        return 0
    show(f"{done.content_keys} content keys, {done.vault_keys} vault keys are wrapped anew.")
    if not done.kept:
        say(options, f"Next:  HIVE_MASTER_KEY_FILE={file}     the setting still names the old key")
    return 0
