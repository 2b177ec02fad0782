"""`hive tool` over a real control socket, against the node's own desk and a hub in memory."""

import base64
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn

from hive.cli.completion import server_names, tool_names
from hive.cli.entry import root, run_command
from hive.core.call import EffectClass
from hive.core.clock import SystemClock
from hive.core.errors import ConflictError, EngineUnavailableError, NotFoundError
from hive.core.randomness import SystemRandomness
from hive.node.tool_logs import ToolLogs
from hive.node.tools import NodeTools
from hive.protocols.mcp.ports import (
    Courier,
    McpError,
    PinnedTool,
    PinState,
    ServerSpec,
    ServerState,
    ServerView,
    ToolDefinition,
)
from hive.security.vault import KeptSecret
from hive.testing.console import MemoryConsole
from hive.web.operator import OperatorApi
from hive.web.sessions import PageSessions
from hive.web.tools import ToolsChapter

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = "\x1b[31mred\u202e"
READ = {
    "name": "read_file",
    "description": f"Read a file.{HOSTILE}",
    "inputSchema": {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Which."},
            "lines": {"type": "integer"},
        },
        "required": ["path"],
    },
    "annotations": {"readOnlyHint": True},
}


class KeptSecrets:
    """A vault in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def put(self, name, secret) -> None:
        self.kept[name] = secret.reveal()

    async def remove(self, name) -> None:
        if name not in self.kept:
            raise NotFoundError("none")
        del self.kept[name]

    async def list(self) -> Sequence[KeptSecret]:
        return [KeptSecret(name=name, set_at=NOW, used_at=None) for name in self.kept]


class NoRows:
    """A database whose records name nobody."""

    async def fetch(self, *_: object) -> list[dict[str, object]]:
        return [{"agent": "writer", "owner": "alice", "calls": 3, "last_at": NOW}]


class HubInMemory:
    """A hub and its registry, whose servers list what the test says."""

    def __init__(self) -> None:
        self.specs: dict[str, ServerSpec] = {}
        self.found: dict[str, PinnedTool] = {}
        self.broken = ""
        self.logs: ToolLogs | None = None

    def servers(self) -> list[ServerView]:
        return [self._view(spec) for spec in self.specs.values()]

    def server(self, name: str) -> ServerView | None:
        return self._view(self.specs[name]) if name in self.specs else None

    def tools(self) -> list[PinnedTool]:
        return list(self.found.values())

    def tool(self, full_name: str) -> PinnedTool | None:
        return self.found.get(full_name)

    def on_change(self, observer):
        return lambda: None

    def _view(self, spec: ServerSpec) -> ServerView:
        own = [one for one in self.found.values() if one.definition.server == spec.name]
        state = ServerState.FAILED if self.broken else ServerState.READY
        return ServerView(
            spec=spec,
            state=state if spec.enabled else ServerState.DISABLED,
            revision="2026-07-28",
            info={"name": spec.name, "version": f"1.0{HOSTILE}"},
            capabilities={"tools": {}},
            tools=len(own),
            blocked=sum(not one.usable for one in own),
            reason=self.broken,
        )

    async def add(self, spec: ServerSpec) -> None:
        self.specs[spec.name] = spec

    async def remove(self, name: str) -> None:
        del self.specs[name]

    async def set_enabled(self, name: str, enabled: bool) -> None:
        self.specs[name] = replace(self.specs[name], enabled=enabled)

    async def refresh(self, name: str) -> None:
        if self.logs is not None:
            self.logs.add(name, f"listening{HOSTILE}")
        if self.broken:
            raise EngineUnavailableError("It does not answer.", why=self.broken)
        self.list_tool(name, READ)

    def list_tool(self, server: str, raw: dict, **more) -> PinnedTool:
        definition = ToolDefinition(server=server, name=raw["name"], raw=raw, digest="d" * 64)
        told = {"state": PinState.PINNED, "effect": EffectClass.PURE, **more}
        tool = PinnedTool(definition=definition, **told)
        self.found[definition.full_name] = tool
        return tool


class AnsweringService:
    """A gateway that answers every call alike, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict] = []
        self.answer_is: dict | McpError = {"content": [{"type": "text", "text": "hello"}]}

    async def answer(self, visitor, method, params, courier: Courier) -> dict:
        assert method == "tools/call"
        assert params["name"] == "read_file"
        assert str(visitor.principal) == "operator:operator"
        self.asked.append(params)
        await courier.notify("notifications/progress", {"progress": 1, "total": 2})
        await courier.notify("notifications/message", {"level": "info", "data": f"log{HOSTILE}"})
        if isinstance(self.answer_is, McpError):
            raise self.answer_is
        return self.answer_is


class World:
    """All that stands behind the command in one test."""

    def __init__(self) -> None:
        self.hub = HubInMemory()
        self.gateway = AnsweringService()
        self.vault = KeptSecrets()
        self.notes: list[tuple[str, dict]] = []
        self.logs = self.hub.logs = ToolLogs(SystemClock())
        self.desk: NodeTools | None = None
        self.forgotten: list[str] = []

    async def note(self, name, body) -> None:
        self.notes.append((name, body))

    async def forget(self, server: str) -> None:
        self.forgotten.append(server)

    async def approve(self, full_name: str, digest: str, *, by: str) -> None:
        tool = self.hub.found[full_name]
        if digest != tool.definition.digest:
            raise ConflictError("It changed again.", fix="Look again.")
        self.hub.found[full_name] = replace(
            tool, state=PinState.PINNED, approved=tool.definition, approved_by=by
        )


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def state(world, tmp_path, monkeypatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    desk = world.desk = NodeTools(
        hub=world.hub,
        servers=world.hub,
        gateway=lambda _server: world.gateway,
        pins=world,
        vault=world.vault,
        note=world.note,
        database=NoRows(),
        clock=SystemClock(),
        state=str(tmp_path / "state"),
        logs=world.logs,
    )
    (tmp_path / "state").mkdir()
    sessions = PageSessions(clock=SystemClock(), randomness=SystemRandomness())
    app = OperatorApi(
        MemoryConsole(), sessions=sessions, guarded=False, chapters=[ToolsChapter(desk)]
    )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "control.sock"))
    listener.listen()
    config = uvicorn.Config(app, log_config=None, lifespan="off", access_log=False, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield tmp_path
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def hive(state, capsys):
    """Run one command on that state folder; return its code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_command(["--state", str(state), *arguments])
        told = capsys.readouterr()
        assert "\x1b[31mred" not in told.out + told.err
        assert "\u202e" not in told.out + told.err
        return code, told.out, told.err

    return run


@pytest.fixture
def files(hive, state) -> str:
    """Give a server with one tool."""
    (state / "data").mkdir()
    code, _, told = hive("tool", "add", "filesystem", "--allow-path", "data", "--yes")
    assert code == 0, told
    return "filesystem"


def test_a_known_server_is_added_by_its_name_with_the_folder_it_may_see(hive, world, state):
    (state / "data").mkdir()
    code, out, told = hive("tool", "add", "filesystem", "--allow-path", "data:rw", "--yes")
    assert code == 0
    spec = world.hub.specs["filesystem"]
    assert spec.package == "npm:@modelcontextprotocol/server-filesystem"
    assert spec.argv == (str(state / "data"),)
    assert [(one.host, one.access) for one in spec.grant.paths] == [(str(state / "data"), "rw")]
    assert f"reads and changes {state / 'data'}" in told
    assert "reaches no host" in told
    assert "filesystem.read_file" in out
    assert world.notes[0][0] == "tool.server.added"


def test_the_database_server_is_given_the_folder_of_its_file(hive, world, state):
    (state / "data").mkdir()
    code, _, told = hive("tool", "add", "sqlite", "--allow-path", "data/new.db:rw", "--yes")
    assert code == 0, told
    spec = world.hub.specs["sqlite"]
    assert spec.package == "pypi:mcp-server-sqlite mcp<2"
    assert spec.argv == ("--db-path", str(state / "data/new.db"))
    assert [(one.host, one.access) for one in spec.grant.paths] == [(str(state / "data"), "rw")]


def test_the_operators_word_on_an_effect_is_kept_and_shown(hive, world):
    words = ("tool", "add", "time", "--effect", "now=pure", "--effect", "*=idempotent", "--yes")
    code, _, told = hive(*words)
    assert code == 0, told
    assert world.hub.specs["time"].effects == {"now": "pure", "*": "idempotent"}
    assert "is taken at your word: now is pure" in told
    assert "--host-allow example.org" in hive("tool", "add", "fetch", "--yes")[2]
    code, _, told = hive("tool", "add", "clock", "--pypi", "x", "--effect", "now=maybe")
    assert (code, "TOOL=pure" in told) == (2, True)


def test_nothing_is_added_before_somebody_said_yes(hive, world, state):
    code, _, told = hive("tool", "add", "time")
    assert code == 1
    assert "--yes" in told
    assert world.hub.specs == {}


def test_what_was_confirmed_is_what_is_added(world, state):
    from hive.cli.client import OperatorClient
    from hive.core.errors import SpecError
    from hive.web.tools import ToolServerOrder, ToolServerPlan, ToolServerStep

    client = OperatorClient(state)
    order = ToolServerOrder(name="time", package="pypi:mcp-server-time")
    plan = client.post("tools/plan", ToolServerPlan, order)
    wider = ToolServerOrder(
        name="time", package="pypi:mcp-server-time", hosts=["*"], confirmed=plan.digest
    )
    with pytest.raises(SpecError, match="not confirmed"):
        list(client.lines("POST", "tools", ToolServerStep, body=wider))
    assert world.hub.specs == {}


def test_a_key_goes_into_the_vault_and_with_its_server(hive, world):
    code, _, told = hive(
        "tool", "add", "it", "--npm", "some-server", "--env", "API_KEY=sk-secret-1", "--yes"
    )
    assert code == 0
    assert world.hub.specs["it"].environment == {"API_KEY": "secret:mcp-it-API_KEY"}
    assert world.vault.kept == {"mcp-it-API_KEY": "sk-secret-1"}
    assert "sk-secret-1" not in told + str(world.notes)
    assert world.desk.users_of("mcp-it-API_KEY") == ["it"]
    assert hive("tool", "rm", "it")[0] == 0
    assert world.vault.kept == {}
    assert world.forgotten == ["it"]


def test_a_key_is_not_moved_without_a_yes(hive, world):
    code, _, told = hive("tool", "add", "it", "--npm", "x", "--env", "TOKEN=sk-secret-1")
    assert code == 78
    assert "vault" in told
    assert "sk-secret-1" not in told
    assert world.vault.kept == {}


def test_a_secret_that_is_not_there_is_asked_for_by_its_name(hive, world):
    words = ("tool", "add", "it", "--npm", "x", "--env", "TOKEN=secret:mine", "--yes")
    code, _, told = hive(*words)
    assert code == 78
    assert "hive secret set mine" in told
    world.vault.kept["mine"] = "x"
    assert hive(*words)[0] == 0
    assert hive("tool", "rm", "it")[0] == 0
    assert world.vault.kept == {"mine": "x"}


def test_no_order_may_write_over_a_secret_of_somebody_else(world, state):
    from hive.cli.client import OperatorClient
    from hive.web.tools import ToolServerOrder, ToolServerPlan, ToolServerStep

    world.vault.kept["openai-key"] = "real"
    order = {
        "name": "it",
        "package": "npm:x",
        "environment": {"TOKEN": "secret:openai-key"},
        "secrets": {"openai-key": "mine"},
    }
    client = OperatorClient(state)
    digest = client.post("tools/plan", ToolServerPlan, ToolServerOrder(**order)).digest
    with pytest.raises(ConflictError):
        list(
            client.lines(
                "POST", "tools", ToolServerStep, body=ToolServerOrder(**order, confirmed=digest)
            )
        )
    assert world.vault.kept == {"openai-key": "real"}


def test_the_nodes_own_folder_is_given_to_no_server(hive, world, state):
    (state / "state" / "inner").mkdir()
    for path in (state / "state", state / "state" / "inner", state):
        code, _, told = hive("tool", "add", "git", "--allow-path", f"{path}:rw", "--yes")
        assert code == 1
        assert "cannot be given" in told
    assert world.hub.specs == {}


@pytest.mark.parametrize(
    "words",
    [
        ("unknown-one",),
        ("a", "--npm", "x", "--pypi", "y"),
        ("a", "--sse"),
        ("a", "--url", "https://example.com", "--", "x"),
        ("filesystem",),
        ("a", "--npm", "x", "--env", "no assignment"),
        ("a", "--url", "https://example.com", "--header", "none"),
    ],
)
def test_wrong_usage_is_told(hive, world, words):
    code, _, told = hive("tool", "add", *words, "--yes")
    assert code == 2
    assert told
    assert world.hub.specs == {}


@pytest.mark.parametrize(
    "words",
    [
        ("a", "--url", "ftp://example.com"),
        ("a", "--url", "https://me:pw@example.com/"),
        ("a", "--url", "https://example.com", "--allow-path", "."),
        ("Ä", "--npm", "x"),
        ("a", "--npm", "x", "--allow-path", "/nowhere"),
        ("a", "--npm", "x", "--allow-path", "/proc"),
        ("a", "--npm", "x", "--host-allow", "not a host"),
        ("a", "--npm", "x", "--env", "LD_PRELOAD=/x.so"),
    ],
)
def test_what_cannot_be_is_refused_by_the_node(hive, world, words):
    code, _, told = hive("tool", "add", *words, "--yes")
    assert code in (1, 78)
    assert "HIVE-E" in told
    assert world.hub.specs == {}


def test_a_server_that_does_not_answer_is_kept_and_told_so(hive, world):
    world.hub.broken = f"it ended with 1{HOSTILE}"
    code, out, told = hive("tool", "add", "time", "--yes")
    assert code == 1
    assert "does not answer" in out
    assert "listening" in out  # what it wrote before it ended
    assert "hive tool logs time" in told
    assert "time" in world.hub.specs
    assert hive("tool", "rm", "time")[0] == 0
    code, out, _ = hive("tool", "add", "time", "--yes", "--json")
    assert (code, json.loads(out.splitlines()[-1])["stage"]) == (1, "stopped")


def test_servers_and_tools_are_listed_and_searched(hive, files):
    assert "No tool" not in hive("tool", "list", "--tools")[1]
    code, out, _ = hive("tool", "list")
    assert (code, "filesystem" in out, "read_file" in out) == (0, True, False)
    assert "filesystem.read_file" in hive("tool", "list", "READ a")[1]
    assert "No tool is called" in hive("tool", "list", "nonsense")[1]
    lines = [json.loads(line) for line in hive("tool", "list", "--tools", "--json")[1].splitlines()]
    assert [one["name"] for one in lines] == ["filesystem", "filesystem.read_file"]


def test_an_empty_node_says_how_to_begin(hive):
    code, out, told = hive("tool", "list")
    assert (code, "No server" in out, "hive tool add" in told) == (0, True, True)


def test_a_tool_is_shown_with_its_fields_its_effect_and_who_used_it(hive, files):
    code, out, _ = hive("tool", "show", "filesystem.read_file")
    assert code == 0
    for words in (
        "pinned",
        "pure",
        "path",
        "string",
        "optional",
        "readOnlyHint",
        "writer, 3 times",
    ):
        assert words in out
    assert hive("tool", "show", "read_file")[1] == out
    assert hive("tool", "show", "filesystem__read_file")[1] == out


def test_a_wrong_name_is_answered_with_what_was_probably_meant(hive, files):
    code, _, told = hive("tool", "show", "filesystem.read_fil")
    assert code == 1
    assert "Did you mean filesystem.read_file" in told
    assert "Did you mean filesystem" in hive("tool", "rm", "filesytem")[2]


def test_a_call_reads_words_as_the_schema_says(hive, world, files):
    code, out, told = hive("tool", "call", "read_file", "path=7", "lines=3", "more:=[1]")
    assert (code, out) == (0, "hello\n")
    assert world.gateway.asked[0]["arguments"] == {"path": "7", "lines": 3, "more": [1]}
    assert "log" in told
    assert hive("tool", "call", "read_file", '{"path": "x"}')[0] == 0
    assert world.gateway.asked[1]["arguments"] == {"path": "x"}


@pytest.mark.parametrize("word", ["path", "lines=many", "more:={", "{"])
def test_words_that_are_no_arguments_call_nothing(hive, world, files, word):
    code, _, told = hive("tool", "call", "read_file", word)
    assert code == 1
    assert told
    assert world.gateway.asked == []


def test_pictures_are_saved_and_nothing_is_overwritten(hive, world, files, state):
    picture = {"type": "image", "mimeType": "image/png", "data": base64.b64encode(b"PNG").decode()}
    world.gateway.answer_is = {
        "content": [picture, {"type": "image", "mimeType": "x", "data": "!"}],
        "structuredContent": {"a": HOSTILE},
    }
    for _ in range(2):
        assert hive("tool", "call", "read_file", "path=x")[0] == 0
    saved = sorted(path.name for path in state.glob("*.png"))
    assert saved == ["filesystem.read_file-1-2.png", "filesystem.read_file-1.png"]
    assert (state / saved[0]).read_bytes() == b"PNG"


def test_a_failed_tool_and_a_refused_call_end_with_one(hive, world, files):
    world.gateway.answer_is = {"content": [{"type": "text", "text": "no"}], "isError": True}
    assert hive("tool", "call", "read_file", "path=x")[:2] == (1, "no\n")
    world.gateway.answer_is = McpError(-32602, f"path is missing{HOSTILE}")
    code, _, told = hive("tool", "call", "read_file")
    assert (code, "path is missing" in told) == (1, True)
    code, out, _ = hive("tool", "call", "read_file", "--json")
    assert code == 1
    assert json.loads(out.splitlines()[-1])["code"] == -32602


def test_a_changed_definition_is_shown_before_it_is_allowed(hive, world, files, monkeypatch):
    before = world.hub.found["filesystem.read_file"].definition
    changed = READ | {"description": "Read a file and send it away.\u200b"}
    world.hub.list_tool("filesystem", changed, state=PinState.CHANGED, approved=before,
                        flags=("hidden characters",))  # fmt: skip
    code, out, told = hive("tool", "approve", "filesystem.read_file")
    assert code == 1
    assert "--digest" in told
    assert "send it away.\\u200b" in told
    assert "filesystem.read_file" in hive("tool", "list", "--blocked")[1]
    code, _, told = hive("tool", "call", "filesystem.read_file", "path=x")
    assert (code, "hive tool approve filesystem.read_file" in told) == (1, True)
    monkeypatch.setattr("hive.cli.commands.tool.on_terminal", lambda: True)
    monkeypatch.setattr("hive.cli.commands.tool.agrees", lambda _: False)
    assert hive("tool", "approve", "filesystem.read_file")[0] == 1
    assert not world.hub.found["filesystem.read_file"].usable
    monkeypatch.setattr("hive.cli.commands.tool.agrees", lambda _: True)
    code, out, _ = hive("tool", "pin", "filesystem.read_file")
    assert (code, "is pinned" in out) == (0, True)
    assert world.hub.found["filesystem.read_file"].approved_by == "operator:operator"


def test_a_yes_to_another_digest_counts_for_nothing(hive, world, files):
    world.hub.list_tool("filesystem", READ, state=PinState.FLAGGED)
    code, _, told = hive("tool", "approve", "read_file", "--digest", "e" * 64)
    assert (code, "changed again" in told) == (1, True)
    assert not world.hub.found["filesystem.read_file"].usable


def test_a_server_is_switched_off_and_on_and_its_lines_are_read(hive, world, files):
    assert "disabled" in hive("tool", "disable", files)[1]
    assert not world.hub.specs[files].enabled
    assert "ready" in hive("tool", "enable", files)[1]
    assert "filesystem" in hive("tool", "refresh", files)[1]
    assert "listening" in hive("tool", "logs", files, "-n", "1")[1]
    assert hive("tool", "logs", "nobody")[0] == 1


def test_a_file_is_imported_after_it_was_looked_at(hive, world, state):
    file = state / "mcp.json"
    file.write_text(
        json.dumps(
            {
                "mcpServers": {
                    "time": {"command": "uvx", "args": ["mcp-server-time"]},
                    "bad": {"command": "docker", "args": ["run", "x"]},
                }
            }
        )
    )
    code, out, _ = hive("tool", "import", "mcp.json", "--dry-run")
    assert code == 0
    assert "taken" in out
    assert "container" in out
    assert world.hub.specs == {}
    assert hive("tool", "import", "mcp.json")[0] == 1
    assert world.hub.specs == {}
    assert hive("tool", "import", "mcp.json", "--yes")[0] == 0
    assert world.hub.specs["time"].package == "pypi:mcp-server-time"
    assert list(world.hub.specs) == ["time"]


def test_the_tab_key_knows_names_and_stays_silent_without_a_node(files, state, tmp_path):
    context = root.make_context("hive", ["--state", str(state), "tool"], resilient_parsing=True)
    assert tool_names(context, None, "filesystem.") == ["filesystem.read_file"]
    assert server_names(context, None, "") == ["filesystem"]
    nowhere = root.make_context(
        "hive", ["--state", str(tmp_path / "none"), "tool"], resilient_parsing=True
    )
    assert tool_names(nowhere, None, "") == []


def test_findings_say_what_to_do(world, state, hive, files):
    assert [one.state for one in world.desk.findings()] == ["ok"]
    world.hub.list_tool("filesystem", READ, state=PinState.FLAGGED)
    assert "hive tool list --blocked" in world.desk.findings()[0].fix
    world.hub.broken = "gone"
    assert "hive tool logs" in world.desk.findings()[0].fix
