"""An operator with a small role tries to act as one with a larger one, or as a client, with what it holds."""

from datetime import timedelta

import httpx
import pytest

from hive.core.call import PrincipalKind, Refused
from hive.core.clock import SystemClock
from hive.core.errors import InvalidIdError
from hive.core.ids import OwnerId
from hive.core.randomness import SystemRandomness
from hive.core.secret import Secret
from hive.engines import load_migrations
from hive.node.roles import LateRoles
from hive.security.roles import OPERATOR, OperatorRole
from hive.security.tokens import Tokens
from hive.testing.clock import StoppedClock
from hive.testing.console import MemoryConsole
from hive.web.operator import OperatorApi
from hive.web.sessions import PageSessions

pytestmark = pytest.mark.anyio
OWN = "the-operators-own-token-of-this-node"


@pytest.fixture
def migrations():
    return [*load_migrations("hive.security")]


@pytest.fixture
async def tokens(database):
    made = Tokens(
        database=database,
        clock=StoppedClock(),
        randomness=SystemRandomness(),
        operator=Secret(OWN),
    )
    await made.load()
    return made


async def issue(tokens: Tokens, role: OperatorRole | None, name: str = "bob") -> str:
    token = await tokens.issue(name, owner=OwnerId(name), role=role)
    return token.reveal()


@pytest.mark.parametrize("role", list(OperatorRole))
async def test_an_operators_token_is_known_as_what_it_is(tokens, role):
    seat = tokens.recognise_operator(await issue(tokens, role))
    assert seat is not None
    assert (seat.role, seat.principal.name) == (role, "bob")
    assert seat.principal.kind is PrincipalKind.OPERATOR


@pytest.mark.parametrize("role", list(OperatorRole))
async def test_an_operators_token_opens_no_agent(tokens, role):
    shown = await issue(tokens, role)
    assert isinstance(tokens.recognise(shown), Refused)
    assert isinstance(tokens.recognise(shown.replace("hive-operator", "hive-client", 1)), Refused)


async def test_a_clients_token_is_no_operators_under_any_prefix(tokens):
    shown = await issue(tokens, None)
    assert tokens.recognise_operator(shown) is None
    assert tokens.recognise_operator(shown.replace("hive-client", "hive-operator", 1)) is None


async def test_the_id_of_another_token_does_not_help(tokens):
    small, large = await issue(tokens, OperatorRole.VIEWER), await issue(tokens, OperatorRole.ADMIN)
    prefix, _, secret = small.split(".")
    _, other, _ = large.split(".")
    assert tokens.recognise_operator(f"{prefix}.{other}.{secret}") is None


async def test_a_revoked_and_an_expired_token_are_nobodys(tokens):
    shown = await issue(tokens, OperatorRole.ADMIN)
    await tokens.revoke(shown.split(".")[1])
    assert tokens.recognise_operator(shown) is None
    later = await issue(tokens, OperatorRole.ADMIN)
    tokens._clock.advance(timedelta(days=91).total_seconds())
    assert tokens.recognise_operator(later) is None


async def test_a_role_that_nobody_knows_reaches_nothing(tokens, database):
    shown = await issue(tokens, OperatorRole.VIEWER)
    await database.execute("UPDATE token SET role = 'emperor'")
    await tokens.load()
    assert tokens.recognise_operator(shown) is None
    assert isinstance(tokens.recognise(shown), Refused)


async def test_nobody_is_given_the_name_of_the_nodes_own_operator(tokens):
    with pytest.raises(InvalidIdError):
        await issue(tokens, OperatorRole.VIEWER, OPERATOR.name)
    seat = tokens.recognise_operator(OWN)
    assert seat is not None
    assert seat.principal == OPERATOR


async def test_a_viewer_cannot_make_itself_an_admin(tokens):
    console = _Console(tokens)
    sessions = PageSessions(clock=SystemClock(), randomness=SystemRandomness())
    api = OperatorApi(console, sessions=sessions, guarded=True, roles=LateRoles("casbin:"))
    headers = {"authorization": f"Bearer {await issue(tokens, OperatorRole.VIEWER)}"}
    ways = [
        ("POST", "/api/tokens"),
        ("POST", "/api/tokens/"),
        ("POST", "/api//tokens"),
        ("POST", "/api/Tokens"),
        ("POST", "/api/status/../tokens"),
        ("POST", "/api/%74okens"),
        ("post", "/api/tokens"),
        ("PUT", "/api/tokens"),
    ]
    transport = httpx.ASGITransport(app=api)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://hive", headers=headers
    ) as http:
        assert (await http.get("/api/status")).status_code == 200
        for method, path in ways:
            order = {"owner": "bob", "role": "admin"}
            answer = await http.request(method, path, json=order)
            assert answer.status_code == 403, (method, path, answer.text)
        sneaky = {"x-http-method-override": "GET", "x-original-url": "/api/status"}
        answer = await http.post("/api/tokens", json={"owner": "bob"}, headers=sneaky)
        assert answer.status_code == 403
    assert len(tokens.live()) == 1


class _Console(MemoryConsole):
    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self._tokens = tokens

    async def operator_seat(self, token: str):
        return self._tokens.recognise_operator(token)
