"""Real tool servers of others behind the walls: what they list and one call each, with network only as declared.

Packages are pinned. What is downloaded and built is kept in the user's cache, never in the repository.
"""

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import pytest

from hive.core.call import PrincipalKind
from hive.core.grant import Access, Grant, HostRule, Limits, PathRule
from hive.core.json import Json
from hive.core.settings import Settings, load_settings
from hive.execution.ports import WalledCommand
from hive.protocols.mcp.ports import ServerSpec, TransportKind
from hive.testing.server_shop import ALICE, ServerShop, open_server_shop

pytestmark = [pytest.mark.anyio, pytest.mark.peers]

WAIT_S = 120.0
BUILD_S = 400.0
LIMITS = Limits(memory_bytes=1 << 30, processes_max=128, disk_bytes=64 << 20)


@dataclass(frozen=True)
class Reference:
    """A server: how it is declared, what it lists at least, and a call with what its answer holds."""

    package: str
    argv: tuple[str, ...]
    tools: frozenset[str]
    call: str = ""
    arguments: Mapping[str, Json] = field(default_factory=dict)
    holds: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


NPM = "npm:@modelcontextprotocol/"
REFERENCES = {
    "filesystem": Reference(
        f"{NPM}server-filesystem@2026.8.31", ("/data",),
        frozenset({"read_text_file", "write_file", "list_directory"}),
        "read_text_file", {"path": "/data/note.txt"}, "hello from the host",
    ),
    "memory": Reference(
        f"{NPM}server-memory@2026.8.31", (),
        frozenset({"create_entities", "read_graph"}),
        "create_entities",
        {"entities": [{"name": "bee", "entityType": "insect", "observations": ["makes honey"]}]},
        "makes honey", {"MEMORY_FILE_PATH": "/data/memory.jsonl"},
    ),
    "everything": Reference(
        f"{NPM}server-everything@2026.8.31", (), frozenset({"echo"}),
        "echo", {"message": "anybody there"}, "anybody there",
    ),
    "sequential-thinking": Reference(
        f"{NPM}server-sequential-thinking@2026.8.31", (), frozenset({"sequentialthinking"}),
        "sequentialthinking",
        {"thought": "first", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1},
        "thoughtNumber",
    ),
    "git": Reference(
        "pypi:mcp-server-git==2026.10.19", ("--repository", "/data/repository"),
        frozenset({"git_status", "git_log"}),
        "git_log", {"repo_path": "/data/repository"}, "a first commit",
    ),
    "fetch": Reference(
        "pypi:mcp-server-fetch==2026.10.24", (), frozenset({"fetch"}),
        "fetch", {"url": "http://example.org/"}, "",
    ),
    "time": Reference(
        "pypi:mcp-server-time==2026.10.19", ("mcp-server-time", "--local-timezone", "Europe/Zurich"),
        frozenset({"get_current_time", "convert_time"}),
        "convert_time",
        {"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "UTC"}, "03:00",
    ),
    "sqlite": Reference(
        "pypi:mcp-server-sqlite==2025.4.25 mcp<2", ("--db-path", "/data/bees.db"),
        frozenset({"read_query", "write_query", "create_table"}),
        "create_table", {"query": "CREATE TABLE bees (name TEXT)"}, "created",
    ),
    "playwright": Reference(
        "npm:@playwright/mcp@0.0.83", (), frozenset({"browser_navigate", "browser_click"})
    ),
    "context7": Reference(
        "npm:@upstash/context7-mcp@4.1.1", (), frozenset({"resolve-library-id"})
    ),
    "tavily": Reference(
        "npm:tavily-mcp@0.2.22", (), frozenset(), environment={"TAVILY_API_KEY": "not-a-key"}
    ),
    "notion": Reference(
        "npm:@notionhq/notion-mcp-server@2.5.2", (), frozenset(),
        environment={"NOTION_TOKEN": "not-a-token"},
    ),
}  # fmt: skip


class Client:
    """Speaks to a server as plainly as the standard allows: what comes is what the server wrote."""

    def __init__(self, streams: WalledCommand) -> None:
        self._streams = streams
        self._held = b""
        self._last = 0

    async def begin(self) -> Mapping[str, Json]:
        """Shake hands."""
        answer = await self.ask(
            "initialize",
            {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "reference-test", "version": "1"},
            },
        )
        await self._send({"method": "notifications/initialized"})
        return answer

    async def ask(self, method: str, params: Mapping[str, Json]) -> Mapping[str, Json]:
        """Ask and return the result."""
        self._last += 1
        await self._send({"id": self._last, "method": method, "params": params})
        try:
            with anyio.fail_after(WAIT_S):
                while (message := await self._next()).get(
                    "id"
                ) != self._last or "method" in message:
                    if "method" in message and "id" in message:
                        await self._send({"id": message["id"], "result": {"roots": []}})
        except anyio.EndOfStream:
            raise AssertionError(f"It died: {self._streams.printed}") from None
        assert "result" in message, message
        return message["result"]

    async def _send(self, message: Mapping[str, Json]) -> None:
        await self._streams.send(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def _next(self) -> dict[str, Json]:
        while b"\n" not in self._held:
            self._held += await self._streams.receive()
        line, _, self._held = self._held.partition(b"\n")
        return json.loads(line)


def cache() -> Path:
    """Return where downloads are kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # noqa: TID251
    return home / "hive-tests" / "tool-servers"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[ServerShop]:
    async with open_server_shop(tmp_path, settings=settings()) as opened:
        yield opened


def settings(**more: object) -> Settings:
    """Return settings with what this machine says of its index and its authorities."""
    here = os.environ.items()  # noqa: TID251
    plain = {name: value for name, value in here if not name.startswith("HIVE_")}
    return load_settings(plain, state_dir=str(cache() / "state"), **more)


def declared(
    reference: Reference, folder: Path, *, hosts: tuple[HostRule, ...] = (), name: str = "server"
) -> ServerSpec:
    """Declare a server that may write one folder, and reach nobody unless told."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    (data / "note.txt").write_text("hello from the host\n")
    rule = PathRule(host=str(data), inside="/data", access=Access.WRITE)
    return ServerSpec(
        name=name,
        transport=TransportKind.STDIO,
        package=reference.package,
        argv=reference.argv,
        environment=reference.environment,
        grant=Grant(paths=(rule,), hosts=hosts, limits=LIMITS),
    )


def a_repository(folder: Path) -> None:
    place = folder / "data" / "repository"
    place.mkdir(parents=True)
    run = ["git", "-C", str(place), "-c", "user.name=bee", "-c", "user.email=bee@example.org"]
    subprocess.run([*run, "init", "-q"], check=True)
    subprocess.run([*run, "commit", "-q", "--allow-empty", "-m", "a first commit"], check=True)


@asynccontextmanager
async def running(
    shop: ServerShop, spec: ServerSpec
) -> AsyncIterator[tuple[Client, WalledCommand]]:
    with anyio.fail_after(BUILD_S):
        async with shop.launcher.launch(spec, ALICE, "one") as streams:
            client = Client(streams)
            await client.begin()
            yield client, streams


@pytest.mark.parametrize("name", REFERENCES)
async def test_a_server_lists_and_answers_behind_the_walls(
    shop: ServerShop, tmp_path: Path, name: str
) -> None:
    reference = REFERENCES[name]
    if name == "git":
        a_repository(tmp_path)
    async with running(shop, declared(reference, tmp_path)) as (client, streams):
        listed = await client.ask("tools/list", {})
        tools = {tool["name"] for tool in listed["tools"]}
        assert tools
        assert reference.tools <= tools
        assert all(wall.stands for wall in streams.walls), streams.walls
        if reference.call:
            params = {"name": reference.call, "arguments": dict(reference.arguments)}
            answer = await client.ask("tools/call", params)
            assert reference.holds in json.dumps(answer)
    # What it wanted outside was refused; nothing was reached.
    assert shop.reached == []


async def test_what_a_server_writes_lies_in_the_granted_folder(
    shop: ServerShop, tmp_path: Path
) -> None:
    async with running(shop, declared(REFERENCES["filesystem"], tmp_path)) as (client, _):
        arguments = {"path": "/data/answer.txt", "content": "written inside"}
        await client.ask("tools/call", {"name": "write_file", "arguments": arguments})
        refused = await client.ask(
            "tools/call", {"name": "read_text_file", "arguments": {"path": "/etc/passwd"}}
        )
    assert refused["isError"]
    assert (tmp_path / "data" / "answer.txt").read_text() == "written inside"


async def test_the_fetch_server_reaches_a_granted_host_under_its_own_name(
    shop: ServerShop, tmp_path: Path
) -> None:
    async with a_page(b"<html><body><p>Bees dance.</p></body></html>") as port:
        url = f"http://127.0.0.1:{port}/page"
        reference = REFERENCES["fetch"]
        hosts = (HostRule(host="127.0.0.1", ports=(port,)),)
        # The proxy of its environment would not be asked for the machine's own addresses.
        open_proxy = replace(
            reference,
            argv=("--allow-private-ips",),
            environment={"NO_PROXY": "", "no_proxy": ""},
        )
        spec = declared(open_proxy, tmp_path, hosts=hosts, name="fetch")
        async with running(shop, spec) as (client, _):
            params = {"name": "fetch", "arguments": {"url": url}}
            answer = json.dumps(await client.ask("tools/call", params))
            other = {"name": "fetch", "arguments": {"url": "http://127.0.0.2:1/"}}
            await client.ask("tools/call", other)
    assert "Bees dance." in answer, shop.lines
    assert {target for _, target in shop.reached} == {f"127.0.0.1:{port}"}
    assert {target for _, target in shop.refused} == {"127.0.0.2:1"}
    assert {(who.kind, who.name) for who, _ in (*shop.reached, *shop.refused)} == {
        (PrincipalKind.AGENT, "tool:fetch")
    }


async def test_a_repository_that_may_only_be_read_is_read(shop: ServerShop, tmp_path: Path) -> None:
    a_repository(tmp_path)
    spec = declared(REFERENCES["git"], tmp_path)
    (rule,) = spec.grant.paths
    spec = replace(spec, grant=replace(spec.grant, paths=(replace(rule, access=Access.READ),)))
    async with running(shop, spec) as (client, _):
        arguments = {"repo_path": "/data/repository"}
        answer = await client.ask("tools/call", {"name": "git_log", "arguments": arguments})
        assert "a first commit" in json.dumps(answer)


async def test_where_the_host_has_no_node_one_is_built_that_obeys_the_proxy(tmp_path: Path) -> None:
    async with (
        open_server_shop(tmp_path, settings=settings(node_bin="/bin/false")) as shop,
        running(shop, declared(REFERENCES["everything"], tmp_path)) as (client, _),
    ):
        params = {"name": "echo", "arguments": {"message": "anybody there"}}
        assert "anybody there" in json.dumps(await client.ask("tools/call", params))
        node = await shop.launcher.packages.node(on_line=print)
    assert node.obeys_proxy
    assert node.path.startswith(str(cache()))


async def test_what_a_node_server_fetches_goes_through_its_proxy(
    shop: ServerShop, tmp_path: Path
) -> None:
    script = "fetch(process.argv[1]).then(a => a.text()).then(t => console.log(t))"
    node = await shop.launcher.packages.node(proxied=True, on_line=print)
    async with a_page(b"Bees dance.") as port:
        spec = replace(
            declared(REFERENCES["memory"], tmp_path, name="fetcher"),
            package="",
            argv=(node.path, "-e", script, f"http://127.0.0.1:{port}/"),
            environment={"NO_PROXY": "", "no_proxy": ""},
        )
        spec = replace(
            spec, grant=replace(spec.grant, hosts=(HostRule(host="127.0.0.1", ports=(port,)),))
        )
        with anyio.fail_after(WAIT_S):
            async with shop.launcher.launch(spec, ALICE, "one") as streams:
                assert await streams.receive() == b"Bees dance.\n", streams.printed
    assert [(who.name, where) for who, where in shop.reached] == [
        ("tool:fetcher", f"127.0.0.1:{port}")
    ]


async def test_a_name_without_a_version_is_pinned_to_one(shop: ServerShop, tmp_path: Path) -> None:
    for package, prefix in (
        ("npm:@modelcontextprotocol/server-memory", "npm:@modelcontextprotocol/server-memory@20"),
        ("pypi:mcp-server-time", "pypi:mcp-server-time==20"),
    ):
        spec = declared(Reference(package, (), frozenset()), tmp_path)
        pinned = await shop.launcher.pin(spec)
        assert pinned.package.startswith(prefix)
        assert await shop.launcher.pin(pinned) == pinned


GO_SERVER = "github.com/modelcontextprotocol/go-sdk/examples/server/memory@v1.0.0"
RUST_SERVER = ("rust-mcp-filesystem", "0.4.5")


def built_by_go() -> Path:
    """Build a server of the official Go SDK."""
    folder = cache() / "go-sdk-1.0.0"
    if not (folder / "memory").exists():
        if not shutil.which("go"):
            pytest.skip("needs go")
        environment = os.environ | {"GOBIN": str(folder), "CGO_ENABLED": "0"}  # noqa: TID251
        subprocess.run(["go", "install", GO_SERVER], check=True, env=environment, timeout=BUILD_S)
    return folder / "memory"


def built_by_cargo() -> Path:
    """Build a popular server in Rust."""
    name, version = RUST_SERVER
    folder = cache() / f"{name}-{version}"
    if not (folder / "bin" / name).exists():
        if not shutil.which("cargo"):
            pytest.skip("needs cargo")
        command = ["cargo", "install", name, "--version", version, "--locked", "--debug"]
        subprocess.run([*command, "--root", str(folder)], check=True, timeout=2 * BUILD_S)
    return folder / "bin" / name


def with_program(spec: ServerSpec, program: Path, *arguments: str) -> ServerSpec:
    """Declare a server that is a program of the host: its folder is granted like any other path."""
    own = PathRule(host=str(program.parent), inside="/srv/server")
    return replace(
        spec,
        package="",
        argv=(f"/srv/server/{program.name}", *arguments),
        grant=replace(spec.grant, paths=(*spec.grant.paths, own)),
    )


async def test_a_server_in_go_keeps_its_graph(shop: ServerShop, tmp_path: Path) -> None:
    spec = declared(REFERENCES["memory"], tmp_path)
    spec = with_program(spec, built_by_go(), "-memory", "/data/graph.json")
    async with running(shop, spec) as (client, streams):
        arguments = REFERENCES["memory"].arguments
        params = {"name": "create_entities", "arguments": dict(arguments)}
        assert "makes honey" in json.dumps(await client.ask("tools/call", params))
        assert all(wall.stands for wall in streams.walls)
    assert "makes honey" in (tmp_path / "data" / "graph.json").read_text()


async def test_a_server_in_rust_reads_the_granted_folder(shop: ServerShop, tmp_path: Path) -> None:
    spec = declared(REFERENCES["filesystem"], tmp_path)
    spec = with_program(spec, built_by_cargo(), "/data")
    async with running(shop, spec) as (client, streams):
        params = {"name": "read_text_file", "arguments": {"path": "/data/note.txt"}}
        assert "hello from the host" in json.dumps(await client.ask("tools/call", params))
        assert all(wall.stands for wall in streams.walls)


@asynccontextmanager
async def a_page(body: bytes) -> AsyncIterator[int]:
    from anyio.abc import SocketAttribute, SocketStream

    async def serve(client: SocketStream) -> None:
        async with client:
            await client.receive()
            head = f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {len(body)}\r\n"
            await client.send(f"{head}connection: close\r\n\r\n".encode() + body)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()
