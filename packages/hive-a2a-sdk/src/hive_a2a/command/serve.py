"""`hive-a2a serve`: an official `AgentExecutor` behind a `SecureA2AServer`."""

import signal
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hive_a2a.command.tell import (
    CommandOptions,
    common_options,
    fact,
    run_async,
    say,
    show,
    show_json,
)
from hive_a2a.errors import A2AError

if TYPE_CHECKING:
    from hive_a2a.ports import Authenticator
    from hive_a2a.server import SecureA2AServer

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@click.command(
    help="Serve an executor: an AgentExecutor of the official SDK, a class of it, or a function that makes one.\n\n"
    "Without --card, a small card is made; a variable `card` in the same module is taken first. By the policy "
    "`secure`, callers are known by their Noise key, as those of `hive-a2a call` are; `open` lets anybody in.",
    epilog="Example:  hive-a2a serve my_agent:Executor --port 8000",
)
@click.argument("source", metavar="MODULE:EXECUTOR")
@click.option(
    "--card",
    "card_file",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="The card, as JSON; it is completed and signed.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--grpc", "grpc_port", type=click.IntRange(1, 65535), help="Serve gRPC on this port.")
@click.option("--public-url", metavar="URL", help="What clients call it by, where that differs.")
@click.option(
    "--policy", type=click.Choice(["secure", "open"]), default="secure", show_default=True
)
@click.option(
    "--callers",
    "callers_file",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help='Known callers: JSON of {"name": "SHA-256 of the bearer token, in hex"}.',
)
@click.option(
    "--keys",
    "keys_folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="The agent's own keys, in a folder of theirs.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the record of calls lies, and the keys without --keys.",
)
@click.option("--tls-certificate", type=click.Path(dir_okay=False, exists=True), help="In PEM.")
@click.option("--tls-key", type=click.Path(dir_okay=False, exists=True), help="In PEM.")
@common_options
def serve(*, options: CommandOptions, source: str, **given: Any) -> int:  # noqa: ANN401
    """Serve until interrupted."""
    if (given["tls_certificate"] is None) != (given["tls_key"] is None):
        raise click.UsageError("--tls-certificate and --tls-key go together.")
    server = make_server(
        source, **_without(given, "host", "tls_key", "tls_certificate"), **_at(given)
    )
    run_async(lambda: _serve(options, server, given))
    return 0


def _without(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}


def _at(given: dict[str, Any]) -> dict[str, Any]:
    """Return what the addresses in the card are made of."""
    host = given["host"]
    shown = f"[{host}]" if ":" in host else host
    return {"host": shown, "scheme": "https" if given["tls_certificate"] else "http"}


def make_server(
    source: str,
    *,
    scheme: str,
    host: str,
    port: int,
    grpc_port: int | None = None,
    card_file: Path | None = None,
    public_url: str | None = None,
    policy: str = "secure",
    callers_file: Path | None = None,
    keys_folder: Path | None = None,
    folder: Path | None = None,
) -> "SecureA2AServer":
    """Make the server of an executor that is named as `module:attribute`.

    Raises:
        A2AError: there is no such executor, or the card is not one.

    """
    from hive_a2a.cards.keys import AgentKeys
    from hive_a2a.policy import Policy
    from hive_a2a.server import SecureA2AServer

    name, module, executor = find_executor(source)
    card = _card(card_file, module, name, executor)
    url = public_url or f"{scheme}://{host}:{port}"
    if not card.supported_interfaces:
        _add_interfaces(card, url, f"{host}:{grpc_port}" if grpc_port else "")
    return SecureA2AServer(
        card,
        executor,
        policy=Policy.open() if policy == "open" else Policy.secure(),
        keys=AgentKeys.load_or_make(keys_folder) if keys_folder else None,
        folder=folder,
        public_url=url,
        authenticators=_callers(callers_file),
    )


def _callers(file: Path | None) -> "Sequence[Authenticator]":
    """Return the way by which the callers in a file prove who they are."""
    import msgspec

    from hive_a2a.identity.api_key import StaticBearer

    if file is None:
        return ()
    try:
        return (StaticBearer(msgspec.json.decode(file.read_bytes(), type=dict[str, str])),)
    except msgspec.DecodeError as error:
        raise A2AError(f"{file} does not list callers.", why=str(error)) from error


def find_executor(source: str) -> tuple[str, object, Any]:
    """Return the name, the module and the executor of `module:attribute`.

    Raises:
        A2AError: there is none.

    """
    from a2a.server.agent_execution import AgentExecutor

    place, _, attribute = source.partition(":")
    if not place or not attribute:
        raise A2AError(
            f"{source!r} names no executor.",
            why="It is MODULE:EXECUTOR, such as my_agent:Executor.",
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = import_module(place)
    except ModuleNotFoundError as error:
        raise A2AError(
            f"The module {place!r} cannot be imported.",
            why=str(error),
            fix="Run the command in its folder, or install it.",
        ) from error
    found = getattr(module, attribute, None)
    if found is not None and not isinstance(found, AgentExecutor) and callable(found):
        found = found()
    if not isinstance(found, AgentExecutor):
        raise A2AError(
            f"{source!r} is no AgentExecutor.",
            why=f"It is {type(found).__name__}.",
            fix="Name an AgentExecutor of the official SDK, its class, or a function that makes one.",
        )
    return attribute, module, found


def _card(file: Path | None, module: object, name: str, executor: object) -> Any:  # noqa: ANN401
    from a2a.types.a2a_pb2 import AgentCapabilities, AgentCard, AgentSkill

    from hive_a2a.cards.resolve import read_card

    if file is not None:
        return read_card(file.read_bytes())
    own = getattr(module, "card", None)
    if isinstance(own, AgentCard):
        copy = AgentCard()
        copy.CopyFrom(own)
        return copy
    about = (type(executor).__doc__ or "").strip().split("\n")[0] or f"The agent {name}."
    return AgentCard(
        name=name,
        description=about,
        version="0.1.0",
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        capabilities=AgentCapabilities(streaming=True, push_notifications=True),
        skills=[AgentSkill(id=name, name=name, description=about, tags=["agent"])],
    )


def _add_interfaces(card: Any, url: str, grpc_address: str) -> None:  # noqa: ANN401
    for version in ("1.0", "0.3"):
        for binding in ("JSONRPC", "HTTP+JSON"):
            card.supported_interfaces.add(
                url=url, protocol_binding=binding, protocol_version=version
            )
    if grpc_address:
        card.supported_interfaces.add(
            url=grpc_address, protocol_binding="GRPC", protocol_version="1.0"
        )


async def _serve(options: CommandOptions, server: "SecureA2AServer", given: dict[str, Any]) -> None:
    import anyio

    host = given["host"]
    async with server.serving(
        host=host, port=given["port"], tls=_tls(given), grpc_port=given["grpc_port"]
    ):
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            _tell(options, server)
            for line in dict.fromkeys(_other_ports(server, given)):
                say(options, line)
            if host not in LOOPBACK and given["tls_certificate"] is None:
                say(options, "  This is plain http beyond this machine; put TLS before it.")
            async for _ in signals:
                break


def _other_ports(server: "SecureA2AServer", given: dict[str, Any]) -> Iterator[str]:
    """Warn of interfaces in the card that lead to another port than one that is served here.

    Behind a public URL of its own, what is before the server maps ports.
    """
    from urllib.parse import urlsplit

    if given["public_url"]:
        return
    for one in server.card.supported_interfaces:
        grpc = one.protocol_binding == "GRPC"
        option, port = ("--grpc", given["grpc_port"]) if grpc else ("--port", given["port"])
        parts = urlsplit(one.url if "://" in one.url else f"//{one.url}")
        named = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
        if named != port:
            served = f"{option} is {port}" if port else f"without {option} nobody serves it"
            yield f"  The card leads {one.protocol_binding} to {one.url}, but {served}."


def _tls(given: dict[str, Any]) -> Any:  # noqa: ANN401 - an ssl.SSLContext, imported late
    if given["tls_certificate"] is None:
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(given["tls_certificate"], given["tls_key"])
    return context


def _tell(options: CommandOptions, server: "SecureA2AServer") -> None:
    if options.json:
        key = server.audit_key
        show_json(
            {
                "name": server.card.name,
                "interfaces": [one.url for one in server.card.supported_interfaces],
                "keys": [one.thumbprint for one in server.served.keys.public],
                "audit": str(server.audit_folder) if key else "",
                "audit_key": key.hex() if key else "",
                "weakened": list(server.policy.weakened),
            }
        )
    else:
        for line in _lines(server):
            show(line)
    sys.stdout.flush()
    say(options, f"Next:  hive-a2a call {server.card.supported_interfaces[0].url} 'hello'")


def _lines(server: "SecureA2AServer") -> Iterator[str]:
    yield f"{server.card.name} is ready"
    seen = dict.fromkeys(
        (one.protocol_binding, one.url) for one in server.card.supported_interfaces
    )
    for binding, url in seen:
        yield fact("interface", f"{binding:<9} {url}")
    for key in server.served.keys.public:
        yield fact("key", f"{key.algorithm:<6} {key.thumbprint}")
    if server.audit_key:
        yield fact("audit", server.audit_folder)
        yield fact("audit key", server.audit_key.hex())
    yield fact("weakened", ", ".join(server.policy.weakened) or "nothing")
