"""`hive mcp`: a program that a desktop client or editor starts, and what to write into its configuration."""

import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click

from hive.cli.client import OperatorClient
from hive.cli.commands.mcp_grants import grants, revoke
from hive.cli.completion import agent_names, server_names
from hive.cli.session import Options, say, shared_options, show
from hive.core.errors import BadInputError, HiveError
from hive.web.values import NodeStatus

if TYPE_CHECKING:
    from anyio import CancelScope
    from anyio.from_thread import BlockingPortal
    from anyio.streams.memory import MemoryObjectSendStream

    from hive.cli.mcp_pipe import PipeTarget

CLIENTS: Final = ("claude", "vscode", "cursor")
LINES_AHEAD_MAX: Final = 100
CHUNK_BYTES: Final = 1 << 16
_PLACES: Final = {
    "claude": "claude_desktop_config.json (Settings > Developer > Edit Config)",
    "vscode": ".vscode/mcp.json of the folder, or the user's mcp.json",
    "cursor": "~/.cursor/mcp.json, or .cursor/mcp.json of the folder",
}


@click.group(
    help="Join a desktop client or editor to this node by MCP; it starts this command itself.",
    invoke_without_command=True,
)
@click.option("--url", default="", help="A node elsewhere (default: the one of the state folder).")
@click.option(
    "--token", default="", envvar="HIVE_MCP_TOKEN", help="What to show (default: the operator's)."
)
@shared_options
@click.pass_context
def mcp(context: click.Context, *, options: Options, url: str, token: str) -> int:
    """Serve the tools unless a verb follows."""
    context.meta["hive.mcp"] = (url, token)
    return _serve(options, context, "/mcp/tools") if context.invoked_subcommand is None else 0


@mcp.command("tools", help="All tools of the node's servers.")
@shared_options
@click.pass_context
def tools(context: click.Context, *, options: Options) -> int:
    """Serve the tools."""
    return _serve(options, context, "/mcp/tools")


@mcp.command("node", help="The node itself: agents, tasks, traces.")
@shared_options
@click.pass_context
def node(context: click.Context, *, options: Options) -> int:
    """Serve the node."""
    return _serve(options, context, "/mcp")


@mcp.command("agent", help="One agent: its skills are tools.")
@click.argument("name", shell_complete=agent_names)
@shared_options
@click.pass_context
def agent(context: click.Context, *, options: Options, name: str) -> int:
    """Serve an agent."""
    return _serve(options, context, endpoint_path("agent", name))


@mcp.command("server", help="One server of tools, under its own names.")
@click.argument("name", shell_complete=server_names)
@shared_options
@click.pass_context
def server(context: click.Context, *, options: Options, name: str) -> int:
    """Serve a server."""
    return _serve(options, context, endpoint_path("server", name))


@mcp.command(
    "config", help="Print the JSON to paste into a client. WHAT: tools, node, agent NAME ..."
)
@click.option("--client", type=click.Choice(CLIENTS), default="claude", show_default=True)
@click.argument("what", nargs=-1)
@shared_options
@click.pass_context
def config(context: click.Context, *, options: Options, client: str, what: tuple[str, ...]) -> int:
    """Print a client's configuration."""
    import json

    words = what or ("tools",)
    endpoint_path(*words)
    url, _ = context.meta["hive.mcp"]
    arguments = ["mcp", *(["--url", url] if url else []), *words]
    # A client starts it from a folder of its own, so everything is said in full.
    entry: dict[str, object] = {"command": _program(), "args": arguments}
    if not url:
        entry["env"] = {"HIVE_STATE_DIR": str(options.settings().state.absolute())}
    name = "hive" if words == ("tools",) else f"hive-{words[-1]}"
    if client == "vscode":
        whole: dict[str, object] = {"servers": {name: {"type": "stdio", **entry}}}
    else:
        whole = {"mcpServers": {name: entry}}
    show(json.dumps(whole, indent=2))
    say(options, f"Paste it into {_PLACES[client]}, then start the client anew.")
    return 0


mcp.add_command(grants)
mcp.add_command(revoke)


def endpoint_path(*words: str) -> str:
    """Return the path of an endpoint by the words of the command.

    Raises:
        BadInputError: there is none of these words.

    """
    from hive.cli.client import segment

    match words:
        case ("tools",):
            return "/mcp/tools"
        case ("node",):
            return "/mcp"
        case ("agent" | "server" as kind, name) if name:
            return f"/mcp/{kind}s/{segment(name)}"
    raise BadInputError(
        f"There is no endpoint {' '.join(words)!r}.",
        why="Known: tools, node, agent NAME, server NAME.",
        fix="Name one of them.",
    )


def _program() -> str:
    """Return the command that a client has to start, as a path."""
    own = Path(sys.argv[0])
    if own.name == "hive" and own.is_file():
        return str(own.absolute())
    return shutil.which("hive") or "hive"


def _serve(options: Options, context: click.Context, path: str) -> int:
    """Forward until the client closes our input."""
    import anyio

    url, token = context.meta["hive.mcp"]
    out = _own_output()

    def find() -> "PipeTarget":
        return _target(options, url, token, path)

    anyio.run(_forward, find, out)
    out.close()
    return 0


def _own_output() -> BinaryIO:
    """Take standard output for the messages alone: whatever else is printed goes to the error output."""
    sys.stdout.flush()
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return out


def _target(options: Options, url: str, token: str, path: str) -> "PipeTarget":
    from hive.cli.mcp_pipe import PipeTarget
    from hive.cli.mcp_wire import PipeError

    if url:
        return PipeTarget(url=url.rstrip("/") + path, token=token)
    try:
        client: OperatorClient = options.client()
        status = client.get("status", NodeStatus)
        shown = token or Path(status.token_file).read_text().strip()
    except HiveError as error:
        raise PipeError(f"{error.what} {error.fix or 'Start it with `hive up`.'}") from error
    except OSError as error:
        raise PipeError("The operator's token cannot be read; give one with --token.") from error
    return PipeTarget(url=status.address.rstrip("/") + path, token=shown)


async def _forward(find: "Callable[[], PipeTarget]", out: BinaryIO) -> None:
    import anyio
    from anyio.from_thread import BlockingPortal

    from hive.cli.mcp_pipe import McpPipe

    lock = anyio.Lock()

    async def write(data: bytes) -> None:
        async with lock:
            await anyio.to_thread.run_sync(_write_all, out, data)

    async def until_told_to_stop(scope: "CancelScope") -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                scope.cancel()
                return

    send, lines = anyio.create_memory_object_stream[bytes](LINES_AHEAD_MAX)
    async with BlockingPortal() as portal, anyio.create_task_group() as tasks:
        tasks.start_soon(until_told_to_stop, tasks.cancel_scope)
        # A thread of its own, which does not hold the process back at its end.
        threading.Thread(target=_read_lines, args=(portal, send), daemon=True).start()
        async with lines:
            await McpPipe(find=find, write=write).run(lines)
        tasks.cancel_scope.cancel()
        await portal.stop(cancel_remaining=True)


def _read_lines(portal: "BlockingPortal", send: "MemoryObjectSendStream[bytes]") -> None:
    """Read lines from the descriptor itself: a thread that waits in Python's own buffer would hold the end back."""
    from anyio import BrokenResourceError, ClosedResourceError

    from hive.cli.mcp_wire import LINE_MAX_BYTES

    ended = (RuntimeError, OSError, CancelledError, BrokenResourceError, ClosedResourceError)
    rest = b""
    with contextlib.suppress(*ended):
        while (piece := os.read(sys.stdin.fileno(), CHUNK_BYTES)) and len(rest) < LINE_MAX_BYTES:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                portal.call(send.send, line)
        if rest:
            portal.call(send.send, rest)
        portal.call(send.aclose)


def _write_all(out: BinaryIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[out.write(left) or 0 :]
