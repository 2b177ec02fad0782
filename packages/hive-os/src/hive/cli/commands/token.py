"""`hive token`: tokens for clients of the A2A door."""

import click
import msgspec

from hive.cli.client import segment
from hive.cli.render import token_rows
from hive.cli.session import Options, say, shared_options, show, show_json
from hive.core.errors import BadInputError
from hive.web.values import TokenIssued, TokenOrder, TokenSummary


@click.group(help="Issue, list and revoke tokens of clients.")
def token() -> None:
    """Hold the verbs about tokens."""


@token.command("issue", help="Make a token; it is shown this one time.")
@click.argument("owner")
@click.option("--agent", "agents", multiple=True, help="Only for this agent (may be repeated).")
@click.option(
    "--role",
    type=click.Choice(("viewer", "approver", "operator", "admin")),
    default=None,
    help="A token of another operator: OWNER is their name.",
)
@click.option("--days", type=click.IntRange(1, 3650), default=30, help="How long it is valid.")
@shared_options
def issue(
    *, options: Options, owner: str, agents: tuple[str, ...], role: str | None, days: int
) -> int:
    """Issue a token."""
    if role and agents:
        raise BadInputError("A token with a role opens the operator API, and no agent.")
    whole = {"owner": owner, "agents": list(agents), "days": days, "role": role or ""}
    order = msgspec.convert(whole, TokenOrder)
    made = options.client().post("tokens", TokenIssued, order)
    if options.json:
        show_json(made)
        return 0
    show(made.token)
    what = f" as {role}" if role else ""
    say(options, f"For {made.summary.owner}{what}, {days} days. It is not shown again.")
    say(options, f"Next:  hive token revoke {made.summary.id}     when it is no longer needed")
    return 0


@token.command("list", help="List tokens.")
@shared_options
def list_tokens(*, options: Options) -> int:
    """List tokens."""
    found = options.client().get("tokens", list[TokenSummary])
    if options.json:
        for one in found:
            show_json(one)
        return 0
    for line in token_rows(found) if found else ["No token yet."]:
        show(line)
    return 0


@token.command("revoke", help="End a token.")
@click.argument("token_id")
@shared_options
def revoke(*, options: Options, token_id: str) -> int:
    """Revoke a token."""
    options.client().delete(f"tokens/{segment(token_id)}")
    if options.json:
        show_json({"revoked": token_id})
    else:
        show(f"{token_id} is revoked.")
    return 0
