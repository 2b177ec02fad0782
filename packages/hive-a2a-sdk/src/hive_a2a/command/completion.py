"""`hive-a2a completion SHELL`."""

import click
from click.shell_completion import get_completion_class

from hive_a2a.command.tell import CommandOptions, common_options, say, show
from hive_a2a.errors import A2AError


@click.command(help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common_options
def completion(*, options: CommandOptions, shell: str) -> int:
    """Print a completion script."""
    from hive_a2a.command.entry import root

    found = get_completion_class(shell)
    if found is None:
        raise A2AError(f"There is no completion for {shell}.")
    show(found(root, {}, "hive-a2a", "_HIVE_A2A_COMPLETE").source())
    say(options, f'Next:  add  eval "$(hive-a2a completion {shell})"  to your shell\'s start file')
    return 0
