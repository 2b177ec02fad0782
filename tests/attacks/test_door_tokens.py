"""Who may knock: forged, expired, revoked and foreign tokens, strangers, and handles on the wrong socket."""

import base64
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from hive.core.call import Principal, PrincipalKind
from hive.core.clock import SystemClock
from hive.core.errors import InvalidIdError, NotFoundError
from hive.core.ids import AgentId, OwnerId, SandboxId, TurnId
from hive.core.randomness import SystemRandomness
from hive.core.secret import Secret
from hive.core.settings import Settings
from hive.engines import load_migrations
from hive.security.tokens import Bearer, Tokens
from hive.testing.a2a_door import OPERATOR_TOKEN, open_door
from hive.testing.clock import StoppedClock

pytestmark = pytest.mark.anyio
SENDING = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "SendMessage",
    "params": {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}},
}
BOX = SandboxId("box-1")
INSIDE = Principal(
    kind=PrincipalKind.AGENT,
    name="reader",
    owner=OwnerId("alice"),
    agent=AgentId("reader"),
    sandbox=BOX,
    turn=TurnId("turn-1"),
)


@pytest.fixture
def migrations():
    return [*load_migrations("hive.security"), *load_migrations("hive.protocols.a2a")]


@pytest.fixture
async def http(anyio_backend):
    async with httpx.AsyncClient(timeout=10) as http:
        yield http


async def call(http, door, token, *, agent="echo", body=SENDING):
    headers = {"a2a-version": "1.0"}
    if token is not None:
        headers["authorization"] = token
    return await http.post(door.agent(agent), json=body, headers=headers)


def turned_away(door, answer, before=0):
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="a2a"'
    assert len(door.gate.attempts) == before


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        "Bearer hive-client..",
        "Bearer hive-client.0000000000000000.AAAA",
        f"Basic {base64.b64encode(OPERATOR_TOKEN.encode()).decode()}",
        f"Bearer {OPERATOR_TOKEN[:-1]}",
        f"Bearer {OPERATOR_TOKEN} {OPERATOR_TOKEN}",
        "Bearer " + "x" * 5000,
        "Bearer \xff\xfe",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJvcGVyYXRvciJ9.",
    ],
)
async def test_a_forged_token_is_turned_away(http, database, header):
    async with open_door(database) as door:
        raw = header.encode("latin-1") if header is not None else None
        turned_away(door, await call(http, door, raw))


async def test_a_client_token_opens_until_it_expires(http, database):
    clock = StoppedClock(datetime(2026, 6, 1, tzinfo=UTC))
    async with open_door(database, clock=clock) as door:
        token = "Bearer " + await door.token("alice")
        assert (await call(http, door, token)).status_code == 200
        clock.advance(timedelta(days=1, seconds=1).total_seconds())
        turned_away(door, await call(http, door, token), before=1)


async def test_a_revoked_token_is_turned_away_at_once(http, database):
    async with open_door(database) as door:
        token = "Bearer " + await door.token("alice")
        assert (await call(http, door, token)).status_code == 200
        await door.tokens.revoke(door.tokens.live()[0].id)
        turned_away(door, await call(http, door, token), before=1)
        with pytest.raises(NotFoundError):
            await door.tokens.revoke("no-such-token")


async def test_a_token_with_another_secret_under_a_true_id_is_turned_away(http, database):
    async with open_door(database) as door:
        prefix, number, secret = (await door.token("alice")).split(".")
        forged = ("A" if secret[0] != "A" else "B") + secret[1:]
        turned_away(door, await call(http, door, f"Bearer {prefix}.{number}.{forged}"))


async def test_a_token_opens_only_the_agents_it_names(http, database):
    async with open_door(database) as door:
        token = "Bearer " + await door.token("alice", "echo")
        assert (await call(http, door, token)).status_code == 200
        shut = await call(http, door, token, agent="asker")
        missing = await call(http, door, token, agent="nobody-is-here")
        assert shut.json()["error"]["code"] == missing.json()["error"]["code"] == -32000
        assert shut.json() == missing.json()
        assert len(door.gate.attempts) == 1


async def test_the_secret_of_a_token_is_nowhere_at_rest(database):
    async with open_door(database) as door:
        secret = (await door.token("alice")).split(".")[2]
        rows = await database.fetch("SELECT * FROM token")
        kept = repr([dict(row) for row in rows])
        assert secret not in kept
        assert repr(base64.urlsafe_b64decode(secret + "="))[2:-1] not in kept


async def test_another_node_learns_of_a_token_from_the_database(database):
    async with open_door(database) as door:
        token = await door.token("alice")
        other = Tokens(
            database=database,
            clock=SystemClock(),
            randomness=SystemRandomness(),
            operator=Secret(""),
        )
        assert not isinstance(other.recognise(token), Bearer)
        await other.load()
        assert isinstance(other.recognise(token), Bearer)
        assert not isinstance(other.recognise(""), Bearer)


@pytest.mark.parametrize(("owner", "days"), [("alice *", 1), ("alice", 0), ("alice", 10_000)])
async def test_a_token_with_a_wildcard_or_without_an_end_is_not_issued(database, owner, days):
    async with open_door(database) as door:
        with pytest.raises(InvalidIdError):
            await door.token(owner, days=days)


async def test_strangers_are_let_in_only_where_the_operator_says_so(http, database):
    async with open_door(database, settings=Settings(anonymous=True)) as door:
        answer = await call(http, door, None)
        task = answer.json()["result"]["task"]
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        assert door.gate.attempts[0].principal.kind is PrincipalKind.ANONYMOUS
        turned_away(door, await call(http, door, "Bearer wrong"), before=1)
        for method, params in (
            ("GetTask", {"id": task["id"]}),
            ("CancelTask", {"id": task["id"]}),
            ("ListTasks", {}),
            ("SubscribeToTask", {"id": task["id"]}),
        ):
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            turned_away(door, await call(http, door, None, body=body), before=1)


async def test_the_card_of_a_private_agent_needs_a_token_and_the_nodes_card_does_not_name_it(
    http, database
):
    async with open_door(database) as door:
        view = door.agents.get(AgentId("asker"))
        private = type(view.spec)(name=view.spec.name, entry=view.spec.entry, public=False)
        door.agents.add(private)
        card = door.agent("asker") + "/.well-known/agent-card.json"
        assert (await http.get(card)).status_code == 401
        shown = await http.get(card, headers={"authorization": f"Bearer {OPERATOR_TOKEN}"})
        assert shown.json()["name"] == "asker"
        node = await http.get(door.url + "/.well-known/agent-card.json")
        assert "asker" not in node.text
        assert "echo" in node.text


async def test_a_handle_is_worth_nothing_outside_its_own_socket(http, database):
    handles = {(BOX, "hive-handle"): INSIDE}
    async with open_door(database, handles=handles) as door:
        turned_away(door, await call(http, door, "Bearer hive-handle"))
    async with open_door(database, handles=handles, sandbox=SandboxId("box-2")) as door:
        turned_away(door, await call(http, door, "Bearer hive-handle"))
        turned_away(door, await call(http, door, f"Bearer {OPERATOR_TOKEN}"))
    async with open_door(database, handles=handles, sandbox=BOX) as door:
        assert (await call(http, door, "Bearer hive-handle")).status_code == 200
        assert door.gate.attempts[0].principal == INSIDE
        turned_away(door, await call(http, door, f"Bearer {OPERATOR_TOKEN}"), before=1)
