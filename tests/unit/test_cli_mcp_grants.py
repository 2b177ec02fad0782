"""`hive mcp grants` and `hive mcp revoke` over a real control socket."""

import json
import socket
import threading
from datetime import UTC, datetime, timedelta

import click
import pytest
import uvicorn

from hive.cli.completion import oauth_grants
from hive.cli.entry import run_command
from hive.core.clock import SystemClock
from hive.core.errors import NotFoundError
from hive.core.randomness import SystemRandomness
from hive.testing.console import MemoryConsole
from hive.web.mcp_grants import OauthGrantLine, OauthGrantsChapter
from hive.web.operator import OperatorApi
from hive.web.sessions import PageSessions

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def line(name, client):
    return OauthGrantLine(
        id=name,
        client=client,
        resource="https://node.example/mcp/tools",
        scopes=["tools"],
        created_at=NOW,
        ends_at=NOW + timedelta(days=30),
    )


class KeptGrants:
    def __init__(self):
        self.kept = [line("aa11", "https://app.example/c.json"), line("bb22", "\x1b[31mred\u202e")]

    async def lines(self):
        return self.kept

    async def revoke(self, grant):
        left = [one for one in self.kept if one.id != grant]
        if left == self.kept:
            raise NotFoundError("There is no such grant.")
        self.kept = left


@pytest.fixture
def desk():
    return KeptGrants()


@pytest.fixture
def hive(desk, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sessions = PageSessions(clock=SystemClock(), randomness=SystemRandomness())
    app = OperatorApi(
        MemoryConsole(), sessions=sessions, guarded=False, chapters=[OauthGrantsChapter(desk)]
    )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("control.sock")
    listener.listen()
    config = uvicorn.Config(app, log_config=None, lifespan="off", access_log=False, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()

    def run(*arguments):
        code = run_command(["--state", str(tmp_path), *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    yield run
    server.should_exit = True
    thread.join()
    listener.close()


def test_grants_are_listed_for_people_and_programs(hive):
    code, out, told = hive("mcp", "grants")
    assert code == 0
    assert "aa11" in out
    assert "https://app.example/c.json" in out
    assert "2026-03-31 12:00" in out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "hive mcp revoke" in told
    code, out, _ = hive("mcp", "grants", "--json")
    assert code == 0
    assert [json.loads(one)["id"] for one in out.splitlines()] == ["aa11", "bb22"]


def test_a_grant_is_taken_back_once(hive, desk):
    code, out, _ = hive("mcp", "revoke", "aa11")
    assert (code, [one.id for one in desk.kept]) == (0, ["bb22"])
    assert "aa11" in out
    code, _, told = hive("mcp", "revoke", "aa11")
    assert code != 0
    assert "no such grant" in told
    assert [one.id for one in desk.kept] == ["bb22"]
    code, out, _ = hive("mcp", "revoke", "bb22", "--json")
    assert json.loads(out) == {"grant": "bb22", "revoked": True}
    code, _, told = hive("mcp", "grants")
    assert "No program" in told


@pytest.mark.usefixtures("hive")
def test_the_tab_key_completes_grants(tmp_path):
    context = click.Context(click.Command("revoke"))
    context.params["state"] = str(tmp_path)
    parameter = click.Argument(["grant"])
    assert [one.value for one in oauth_grants(context, parameter, "a")] == ["aa11"]
    assert oauth_grants(context, parameter, "z") == []
