"""A page of another site, whose name was made to lead to this machine, gets no answer."""

import pytest

from hive.core.settings import Settings
from hive.node.routes import PublicRoutes, names_of

pytestmark = pytest.mark.anyio


def settings(**values: object) -> Settings:
    return Settings(state_dir="/tmp", **values)


async def status(routes: PublicRoutes, host: str | None, path: str = "/api/ready") -> int:
    sent = []

    async def site(_scope, _receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(event) -> None:
        sent.append(event)

    routes.a2a = routes.site = site
    headers = [] if host is None else [(b"host", host.encode())]
    await routes({"path": path, "headers": headers}, None, send)
    return sent[0]["status"]


@pytest.mark.parametrize("path", ["/", "/api/ready", "/a2a/x", "/.well-known/agent-card.json"])
async def test_a_foreign_name_is_turned_away_on_loopback(path):
    routes = PublicRoutes(names_of(settings()))
    for host in ("evil.example", "evil.example:4100", "127.0.0.1.evil.example", "[bad"):
        assert await status(routes, host, path) == 421, host


async def test_addresses_localhost_and_the_public_name_are_ours():
    routes = PublicRoutes(names_of(settings(public_url="https://Agents.example.org/x")))
    for host in ("127.0.0.1:4100", "LOCALHOST", "[::1]:1", "agents.example.org", "a.localhost"):
        assert await status(routes, host) == 200, host
    assert await status(routes, None) == 200


async def test_a_port_that_is_open_to_a_network_answers_to_every_name():
    assert names_of(settings(host="0.0.0.0")) is None
    assert await status(PublicRoutes(None), "node.internal") == 200
