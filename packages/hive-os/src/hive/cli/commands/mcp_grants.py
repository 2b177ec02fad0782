"""`hive mcp grants` and `hive mcp revoke`: which programs were let in by a login, and how to put one out."""

from typing import Final

import click

from hive.cli.client import segment
from hive.cli.completion import oauth_grants
from hive.cli.render import table
from hive.cli.session import Options, say, shared_options, show, show_json
from hive.core.ids import plain_text
from hive.web.mcp_grants import OauthGrantLine

SHOWN_MAX_CHARS: Final = 80


@click.command(
    "grants", help="List what programs were let in for by a login: their grants, newest first."
)
@shared_options
def grants(*, options: Options) -> int:
    """List the grants that stand."""
    found = options.client().get("mcp-grants", list[OauthGrantLine])
    if options.json:
        for one in found:
            show_json(one)
        return 0
    if not found:
        say(options, "No program is let in by a login.")
        return 0
    heads = ("GRANT", "PROGRAM", "FOR", "SCOPES", "SINCE", "ENDS")
    for line in table(heads, [_cells(one) for one in found]):
        show(line)
    say(options, "Take one back: hive mcp revoke GRANT")
    return 0


@click.command("revoke", help="Take a grant back: its tokens, calls and streams end at once.")
@click.argument("grant", shell_complete=oauth_grants)
@shared_options
def revoke(*, options: Options, grant: str) -> int:
    """End a grant."""
    options.client().delete(f"mcp-grants/{segment(grant)}")
    if options.json:
        show_json({"grant": grant, "revoked": True})
    else:
        show(f"revoked     {plain_text(grant)}")
    return 0


def _cells(one: OauthGrantLine) -> tuple[str, ...]:
    # A program wrote its name and address itself.
    program = f"{one.name} ({one.client})" if one.name else one.client
    return (
        one.id,
        plain_text(program)[:SHOWN_MAX_CHARS],
        plain_text(one.resource)[:SHOWN_MAX_CHARS],
        " ".join(one.scopes),
        f"{one.created_at:%Y-%m-%d %H:%M}",
        f"{one.ends_at:%Y-%m-%d %H:%M}",
    )
