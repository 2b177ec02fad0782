"""`hive-a2a keys`: an agent's own keys. The private halves are never printed."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hive_a2a.command.tell import CommandOptions, common_options, fact, say, show, show_json
from hive_a2a.errors import A2AError

if TYPE_CHECKING:
    from hive_a2a.cards.keys import AgentKeys


@click.group(
    help="Make, show and rotate an agent's keys: those that sign its card, and its Noise key.",
    epilog="Example:  hive-a2a keys new ./my-agent-keys",
)
def keys() -> None:
    """Hold the verbs of keys."""


@keys.command(help="Make keys in a folder that has none.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--algorithm",
    "algorithms",
    multiple=True,
    type=click.Choice(["EdDSA", "ES256"]),
    default=("EdDSA",),
    show_default=True,
    help="What to sign with; twice for both.",
)
@common_options
def new(*, options: CommandOptions, folder: Path, algorithms: tuple[str, ...]) -> int:
    """Make keys."""
    from hive_a2a.cards.jwk import CardAlgorithm
    from hive_a2a.cards.keys import FILE_NAME, AgentKeys

    if (folder / FILE_NAME).exists():
        raise A2AError(
            f"There are keys in {folder}.",
            why="Nothing is overwritten.",
            fix="Change them with `hive-a2a keys rotate`, or name another folder.",
        )
    made = AgentKeys.load_or_make(folder, [CardAlgorithm(one) for one in algorithms])
    _tell(options, made)
    say(options, f"Next:  hive-a2a card sign CARD.json --keys {folder}")
    return 0


@keys.command(name="show", help="Show the public halves; with --json, as a key set (JWKS).")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@common_options
def show_keys(*, options: CommandOptions, folder: Path) -> int:
    """Show keys."""
    _tell(options, keys_in(folder))
    return 0


@keys.command(help="Make new keys; the ones before stay beside them until `keys retire`.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@common_options
def rotate(*, options: CommandOptions, folder: Path) -> int:
    """Rotate keys."""
    _tell(options, keys_in(folder).rotate())
    say(options, f"Next:  restart the agent; later:  hive-a2a keys retire {folder}")
    return 0


@keys.command(help="Drop the keys before the last rotation: they sign and open nothing any more.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@common_options
def retire(*, options: CommandOptions, folder: Path) -> int:
    """Drop old keys."""
    _tell(options, keys_in(folder).retire())
    return 0


def keys_in(folder: Path) -> "AgentKeys":
    """Return the keys in a folder.

    Raises:
        A2AError: there are none.

    """
    from hive_a2a.cards.keys import FILE_NAME, AgentKeys

    if not (folder / FILE_NAME).exists():
        raise A2AError(f"There are no keys in {folder}.", fix=f"hive-a2a keys new {folder}")
    return AgentKeys.load_or_make(folder)


def _tell(options: CommandOptions, found: "AgentKeys") -> None:
    if options.json:
        show_json({**found.key_set(), "epoch": found.epoch, "noise": found.noise.public.hex()})
        return
    show(f"epoch {found.epoch}   {found.folder}")
    old = {key.public.kid for key in found.signing_before}
    for key in found.public:
        note = "   before the rotation" if key.kid in old else ""
        show(fact("signs", f"{key.algorithm:<6} {key.kid}{note}"))
    show(fact("noise", found.noise.public.hex()))
    if found.noise_before is not None:
        show(fact("noise", f"{found.noise_before.public.hex()}   before the rotation"))
