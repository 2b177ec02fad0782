"""What every test may ask for.

`database` is an empty PostgreSQL database (pgvector included) with the steps of the fixture `migrations`
applied, opened as `hive_app`; override `migrations` in a module to get a layer's schema. `messaging` is a
nats-server of the test's own. `database_server` gives several databases to one test.
"""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

# First, for the official package's client and server import each other: whoever has the server's routes
# before the client has a client without the gRPC of 0.3, and all other tests of the process with it.
import a2a.client  # noqa: F401
import pytest
from anyio._backends import _asyncio as asyncio_backend
from anyio.from_thread import start_blocking_portal
from hypothesis import settings as properties

from hive.engines import Migration
from hive.engines.ports import Database, Messaging
from hive.testing.engines import DatabaseServer, open_messaging
from hive.testing.engines import database_server as running_database_server

# The same examples on every machine: what fails in one place can be looked at in another.
# `./scripts/test --hypothesis-profile=new` draws others.
properties.register_profile("new", derandomize=False)
properties.register_profile("same", derandomize=True)
properties.load_profile("same")

PEERS = (
    "unit/test_mcp_guest",
    "interop/test_mcp_desktop",
    "interop/test_mcp_a2a_bridge",
    "attacks/test_model_upstream_hostile",
    "interop/test_models_official_gemini",
    "interop/test_models_official_kinds",
    "interop/test_models_libraries",
    "end_to_end/test_tiny_model",
    "end_to_end/test_gateway_node",
    "end_to_end/test_component_",
    "end_to_end/test_identity_",
    "attacks/test_model_keys_planted",
    "attacks/test_agents_that_break_things",
    "attacks/test_build_environment",
    "end_to_end/test_cli_models",
    "end_to_end/test_cli_terminal",
    "end_to_end/test_commands_and_remotes",
    "end_to_end/test_crash_recovery",
    "end_to_end/test_mcp_kill",
    "end_to_end/test_obedient_agent",
    "end_to_end/test_operations",
    "end_to_end/test_quarantine_node",
    "end_to_end/test_remote_over_tls",
    "end_to_end/test_runs_again",
    "end_to_end/test_spend_",
    "engines/test_killed_at_any_time",
    "interop/test_sdk_",
    "end_to_end/test_sdk_",
    "attacks/test_replay_reaches_out",
    "attacks/test_flood_and_stop",
    "attacks/test_metrics_flooded",
    "attacks/test_public_port",
    "attacks/test_remote_cards",
    "attacks/test_sdk_server_",
    "attacks/test_sdk_wire_connections",
    "attacks/test_sdk_identity_tls",
    "unit/test_sdk_server_",
    "unit/test_sdk_handler_same",
    "unit/test_sdk_probe",
    "unit/test_sdk_push_served",
    "unit/test_sdk_user_",
    "interop/test_mcp_hub_servers",
    "end_to_end/test_approvals_node",
    "end_to_end/test_mcp_node",
    "end_to_end/test_mcp_oauth_node",
    "unit/test_mcp_hub_http",
    "end_to_end/test_mcp_reference_servers",
    "attacks/test_mcp_wire_",
    "attacks/test_mcp_revoked_grant",
    "conformance/test_mcp_",
    "interop/test_mcp_front_official",
    "unit/test_mcp_front.",
    "attacks/test_handles_elsewhere",
    "attacks/test_doors_of_the_operator_from_inside",
    "attacks/test_escape_sequences",
    "attacks/test_greedy_sources",
    "attacks/test_mcp_stdio_",
    "end_to_end/test_page_in_a_browser",
    "end_to_end/test_examples",
    "end_to_end/test_environment_build",
    "interop/test_real_node_",
)
"""Files whose tests open servers or compare at length: they run with `-m peers`, not in the everyday suite."""


@pytest.hookimpl(tryfirst=True)  # before the marks are looked at
def pytest_configure() -> None:
    # A suite that a shell started in the background ignores interrupts, and so would every program that it starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if f"{item.path.parent.name}/{item.path.name}".startswith(PEERS):
            item.add_marker("peers")


@pytest.fixture(scope="session", autouse=True)
def canceled_waits() -> Iterator[None]:
    """Let anyio's runner pass over a wait for a UNIX socket that was canceled as the socket became ready.

    anyio 4.16 sets the result of such a wait a second time and tells the loop; the wait itself is over.
    """
    told = asyncio_backend.TestRunner._exception_handler

    def pass_over(runner: object, loop: object, context: dict[str, object]) -> None:
        late = isinstance(context.get("exception"), asyncio.InvalidStateError)
        if not (late and "set_result" in str(context.get("message"))):
            told(runner, loop, context)

    asyncio_backend.TestRunner._exception_handler = pass_over
    yield
    asyncio_backend.TestRunner._exception_handler = told


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(scope="session")
def database_server() -> Iterator[DatabaseServer]:
    # The server lives in an event loop of its own: those of the tests come and go.
    with (
        tempfile.TemporaryDirectory(prefix="hive-") as folder,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(running_database_server(Path(folder))) as server,
    ):
        yield server


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return ()


@pytest.fixture
async def database(
    anyio_backend: object, database_server: DatabaseServer, migrations: Sequence[Migration]
) -> AsyncIterator[Database]:
    async with database_server.open(migrations) as database:
        yield database


@pytest.fixture
async def messaging(anyio_backend: object, tmp_path: Path) -> AsyncIterator[Messaging]:
    async with open_messaging(tmp_path) as messaging:
        yield messaging
