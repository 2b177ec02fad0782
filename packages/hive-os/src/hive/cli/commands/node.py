"""`hive up`, `hive down`, `hive status`: the node itself."""

import fcntl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from hive.cli.client import OperatorClient
from hive.cli.errors import EXIT_CONFIG, EXIT_DEGRADED
from hive.cli.render import status_lines, welcome_lines
from hive.cli.session import Options, moving, on_terminal, say, shared_options, show, show_json
from hive.core.errors import (
    ConfigError,
    EngineTimeoutError,
    HiveError,
    NodeUnreachableError,
    StateError,
)
from hive.web.values import NodeStatus

DETACH_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 15.0
POLL_S: Final = 0.05


@click.command(help="Start the node and stay until Ctrl-C.")
@click.option("--port", type=int, help="The port of all doors (default 8700).")
@click.option("--host", help="The address to bind (default 127.0.0.1).")
@click.option("--mode", type=click.Choice(["development", "production"]), help="What is demanded.")
@click.option("--detach", is_flag=True, help="Return once the node is ready.")
@shared_options
def up(
    *, options: Options, port: int | None, host: str | None, mode: str | None, detach: bool
) -> int:
    """Start the node."""
    settings = options.settings(port=port, host=host, mode=mode)
    client = OperatorClient(settings.state)
    if client.alive():
        raise _runs_already(client)
    if detach:
        _start_detached(options, settings.state, port=port, host=host, mode=mode)
        _welcome(options, client)
        return 0

    def work() -> bool:
        line.clear()
        line.end()
        _welcome(options, client)
        return True

    from hive.cli.node_entry import serve

    with moving(options, "starting the node") as line:
        interrupted = _until_stopped(lambda: serve(settings, work))
    say(options, "Stopped." if interrupted else "The node has stopped.")
    return 0


def _until_stopped(run: Callable[[], bool]) -> bool:
    try:
        return run()
    except KeyboardInterrupt:  # before the node listened to signals
        return True


@click.command(help="Stop the node.")
@shared_options
def down(*, options: Options) -> int:
    """Stop the node."""
    stop_node(options)
    return 0


def stop_node(options: Options) -> None:
    """Ask the node to stop, and wait until its state folder is free for the next command."""
    client = options.client()
    client.post("shutdown", object)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    with moving(options, "stopping the node"):
        while client.alive() or _held(options.settings().state):
            if time.monotonic() > deadline:
                raise EngineTimeoutError(
                    "The node is still there.",
                    why=f"It was asked to stop {STOP_TIMEOUT_S:.0f} s ago.",
                    fix="`hive status` prints its pid.",
                )
            time.sleep(POLL_S)
    if options.json:
        show_json({"stopped": True})
    else:
        show("Stopped.")


def _held(state: Path) -> bool:
    """Tell whether a process still holds the lock of a state folder."""
    try:
        with (state / "node.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@click.command(help="Describe the node: doors, engines, walls, agents.")
@click.option("--watch", is_flag=True, help="Print again each second until Ctrl-C.")
@click.option("--link", is_flag=True, help="Print a one-time link to the live page.")
@shared_options
def status(*, options: Options, watch: bool, link: bool) -> int:
    """Describe the node."""
    client = options.client()
    if link:
        show_json({"link": page_link(client)}) if options.json else show(page_link(client))
        return 0
    while True:
        found = client.get("status", NodeStatus)
        if watch and sys.stdout.isatty() and not options.json:
            click.clear()
        if options.json:
            show_json(found)
        else:
            for line in status_lines(found):
                show(line)
        if not watch:
            return EXIT_DEGRADED if found.degraded else 0
        try:
            time.sleep(1)
        except KeyboardInterrupt:
            return 0


def page_link(client: OperatorClient) -> str:
    """Return a link that opens the page once, without a token."""
    key = client.post("page-key", dict[str, str])["key"]
    return f"{client.get('status', NodeStatus).address}/?key={key}"


def _welcome(options: Options, client: OperatorClient) -> None:
    found = client.get("status", NodeStatus)
    if options.json:
        show_json(found)
        return
    link = page_link(client) if on_terminal() else ""
    for line in welcome_lines(found, link=link):
        say(options, line)


def _runs_already(client: OperatorClient) -> HiveError:
    found = client.get("status", NodeStatus)
    return StateError(
        f"A node runs already, at {found.address} (pid {found.pid}).",
        why=f"It owns {found.state_dir}.",
        fix="hive status     or stop it:  hive down     or choose another:  --state DIR",
    )


def _start_detached(options: Options, state: Path, **given: object) -> None:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    arguments = [sys.executable, "-m", "hive", "up", "--state", str(state)]
    for name, value in given.items():
        if value is not None:
            arguments += [f"--{name}", str(value)]
    log = state / "node.log"
    with log.open("ab") as output:
        start = output.tell()
        child = subprocess.Popen(  # noqa: S603  our own command, with our own arguments
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + DETACH_TIMEOUT_S
    client = OperatorClient(state)
    with moving(options, "starting the node"):
        while not _is_ready(client):
            if (status := child.poll()) is not None:
                raise _did_not_start(log, start, status)
            if time.monotonic() > deadline:
                child.terminate()
                raise EngineTimeoutError(
                    "The node did not become ready.",
                    why=f"{DETACH_TIMEOUT_S:.0f} s have passed.",
                    fix=f"Read {log}",
                )
            time.sleep(POLL_S)


def _is_ready(client: OperatorClient) -> bool:
    try:
        return client.get("status", NodeStatus).ready
    except NodeUnreachableError:
        return False


def _did_not_start(log: Path, start: int, status: int) -> HiveError:
    with log.open("rb") as written:
        written.seek(start)
        told = written.read(4000).decode("utf-8", "replace").strip()
    kind = ConfigError if status == EXIT_CONFIG else HiveError
    return kind("The node did not start.", why=told or "It printed nothing.", fix=f"Read {log}")
