"""Names for the shell's tab key, asked from a running node: fast, and silent where there is none."""

from typing import Final, TypeVar

import click
from click.shell_completion import CompletionItem

from hive.cli.client import OperatorClient
from hive.core.ids import plain_text

TIMEOUT_S: Final = 0.5
NAMES_MAX: Final = 500
_T = TypeVar("_T")


def tool_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return names of servers and tools that begin as typed."""
    return [one for one in _names(ctx) if one.startswith(incomplete)][:NAMES_MAX]


def server_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return names of servers that begin as typed."""
    return [one for one in tool_names(ctx, _param, incomplete) if "." not in one]


def waiting_calls(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the calls that wait for a person, each with what it is."""
    from hive.web.approvals import ApprovalLine

    return [
        CompletionItem(one.id, help=f"{one.verb} {one.target}")
        for one in _asked(ctx, "approvals", list[ApprovalLine])
        if one.state == "waiting" and one.id.startswith(incomplete)
    ][:NAMES_MAX]


def oauth_grants(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the grants of programs that logged in, each with whose it is."""
    from hive.web.mcp_grants import OauthGrantLine

    return [
        CompletionItem(one.id, help=f"{plain_text(one.client)} {plain_text(one.resource)}")
        for one in _asked(ctx, "mcp-grants", list[OauthGrantLine])
        if one.id.startswith(incomplete)
    ][:NAMES_MAX]


def _names(ctx: click.Context) -> list[str]:
    return _asked(ctx, "tool-names", list[str])


def _asked(ctx: click.Context, path: str, shape: type[list[_T]]) -> list[_T]:
    """Ask the node; whatever goes wrong, a person at the tab key wants no error."""
    try:
        from hive.core.settings import load_settings

        state = next((one.params["state"] for one in _chain(ctx) if one.params.get("state")), None)
        client = OperatorClient(load_settings(state_dir=state).state)
        return client.get(path, shape, timeout_s=TIMEOUT_S)
    except Exception:  # noqa: BLE001  no node, no settings, no answer: no names
        return []


def _chain(ctx: click.Context) -> list[click.Context]:
    found = [ctx]
    while (parent := found[-1].parent) is not None:
        found.append(parent)
    return found
