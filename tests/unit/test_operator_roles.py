"""What each role of an operator may ask of the API: every path, walked."""

import importlib
import inspect
import pkgutil
from collections.abc import AsyncIterator

import httpx
import pytest

import hive.web
from hive.core.clock import SystemClock
from hive.core.errors import ConfigError
from hive.core.randomness import SystemRandomness
from hive.node.roles import LateRoles
from hive.security.policy.drivers import ROLES
from hive.security.roles import OPERATOR, OperatorRole, acting_operator
from hive.testing.console import ROLE_WORD, TOKEN, MemoryConsole
from hive.web.chapters import ApiQuestion, Chapter, RouteKey
from hive.web.operator import OperatorApi
from hive.web.sessions import PageSessions

pytestmark = pytest.mark.anyio
REACHED = 299
CHANGES = {
    OperatorRole.VIEWER: {("POST", "page-key", 0)},
    OperatorRole.APPROVER: {
        ("POST", "page-key", 0),
        ("POST", "approvals", 1),
        ("POST", "parked", 1),
    },
}
ADMINS_ALONE = {
    "approval-rules", "backup", "budgets", "identity-allowed", "identity-revoked", "identity-root",
    "identity-rotation", "llm", "policy", "relation-model", "relations", "routes", "secrets", "shutdown", "tokens", "tools",
    "trust", "warrant-revocations", "warrants",
}  # fmt: skip
SECRETS = {"secrets", "tokens"}


class Walked(Chapter):
    """Every path of every chapter, answered with who acts."""

    def __init__(self) -> None:
        self.answers, self.streams = {}, {}
        for module in pkgutil.iter_modules(hive.web.__path__):
            loaded = importlib.import_module(f"hive.web.{module.name}")
            for name, value in vars(loaded).items():
                own = inspect.isclass(value) and value.__module__ == loaded.__name__
                if own and name.endswith("Chapter") and value is not Chapter:
                    given = len(inspect.signature(value.__init__).parameters) - 1
                    made = value(*[None] * given)
                    for key in (*made.answers, *made.streams):
                        self.answers[key] = self._who

    async def _who(self, _question: ApiQuestion) -> object:
        return {"acting": str(acting_operator())}


def served() -> OperatorApi:
    sessions = PageSessions(clock=SystemClock(), randomness=SystemRandomness())
    roles = LateRoles("casbin:")
    return OperatorApi(
        MemoryConsole(), sessions=sessions, guarded=True, chapters=[Walked()], roles=roles
    )


ROUTES = sorted(served().routes)


@pytest.fixture(scope="module")
def api() -> OperatorApi:
    return served()


@pytest.fixture
async def client(api) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=api)
    async with httpx.AsyncClient(transport=transport, base_url="http://hive") as opened:
        yield opened


async def ask(client: httpx.AsyncClient, key: RouteKey, token: str) -> httpx.Response:
    method, noun, segments = key
    path = "/".join(("/api", noun, *["x"] * segments))
    return await client.request(method, path, headers={"authorization": f"Bearer {token}"})


def may(role: OperatorRole, key: RouteKey) -> bool:
    method, noun, segments = key
    return LateRoles("casbin:").allows(role, method, f"/{noun}/{segments}")


def test_there_are_paths_to_walk():
    assert len(ROUTES) > 60
    assert {"agents", "approvals", "policy", "secrets", "tokens", "shutdown"} <= {
        noun for _, noun, _ in ROUTES
    }


async def test_every_path_asks_for_the_role_first(client):
    book = ROLES.load("casbin:")("casbin:")
    for key in ROUTES:
        method, noun, segments = key
        for role in OperatorRole:
            answer = await ask(client, key, f"{ROLE_WORD} {role}")
            allowed = book.allows(role, method, f"/{noun}/{segments}")
            assert (answer.status_code == 403) is not allowed, (key, role, answer.text)
            if not allowed:
                assert answer.json()["error"]["code"] == "E091"


async def test_no_path_answers_without_a_token(client):
    for key in ROUTES:
        for token in ("", "wrong", f"{ROLE_WORD} emperor", f"{ROLE_WORD} ADMIN"):
            assert (await ask(client, key, token)).status_code == 401, key


def test_each_role_may_what_the_one_below_may():
    order = list(OperatorRole)
    book = ROLES.load("casbin:")("casbin:")
    for method, noun, segments in ROUTES:
        path = f"/{noun}/{segments}"
        reach = [book.allows(role, method, path) for role in order]
        assert reach == sorted(reach), path
        assert reach[-1]


def test_who_only_looks_changes_nothing():
    book = ROLES.load("casbin:")("casbin:")
    for role, changes in CHANGES.items():
        found = {
            key for key in ROUTES
            if key[0] != "GET" and book.allows(role, key[0], f"/{key[1]}/{key[2]}")
        }  # fmt: skip
        assert found == changes


def test_what_changes_the_rules_is_an_admins_alone():
    book = ROLES.load("casbin:")("casbin:")
    for method, noun, segments in ROUTES:
        below = book.allows(OperatorRole.OPERATOR, method, f"/{noun}/{segments}")
        if noun in ADMINS_ALONE and method != "GET":
            assert not below, (method, noun)
        if noun in SECRETS:
            assert not below, (method, noun)


def test_a_path_that_no_line_names_is_an_admins_alone():
    book = ROLES.load("casbin:")("casbin:")
    assert not book.allows(OperatorRole.OPERATOR, "GET", "/new-thing/0")
    assert not book.allows(OperatorRole.OPERATOR, "POST", "/status/0")
    assert book.allows(OperatorRole.ADMIN, "POST", "/new-thing/0")


async def test_what_follows_is_written_down_under_the_name_of_who_asked(client):
    answer = await ask(client, ("POST", "approvals", 1), f"{ROLE_WORD} approver")
    assert answer.json() == {"acting": "operator:some-approver"}
    assert (await ask(client, ("POST", "approvals", 1), TOKEN)).json() == {"acting": str(OPERATOR)}
    assert acting_operator() == OPERATOR


async def test_without_a_book_of_roles_only_an_admin_gets_in():
    sessions = PageSessions(clock=SystemClock(), randomness=SystemRandomness())
    api = OperatorApi(MemoryConsole(), sessions=sessions, guarded=True)
    transport = httpx.ASGITransport(app=api)
    async with httpx.AsyncClient(transport=transport, base_url="http://hive") as client:
        assert (await ask(client, ("GET", "status", 0), f"{ROLE_WORD} operator")).status_code == 403
        assert (await ask(client, ("GET", "status", 0), f"{ROLE_WORD} admin")).status_code == 200


def test_an_operators_own_list_counts(tmp_path):
    (tmp_path / "roles.csv").write_text("p, viewer, /status/0, GET\n")
    book = ROLES.load("casbin:")(f"casbin:{tmp_path}/roles.csv")
    assert book.allows(OperatorRole.VIEWER, "GET", "/status/0")
    assert not book.allows(OperatorRole.APPROVER, "GET", "/status/0")
    assert book.allows(OperatorRole.ADMIN, "POST", "/shutdown/0")
    with pytest.raises(ConfigError):
        ROLES.load("casbin:")(f"casbin:{tmp_path}/nowhere.csv")
