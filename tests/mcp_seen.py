"""Which clients and servers of MCP are shown to work, in which version, over what, and by which test.

The rows come from the tables of the tests themselves. `scripts/mcp_clients` runs these tests and makes a page
of what came out.
"""

import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.end_to_end.test_mcp_reference_servers import GO_SERVER, REFERENCES, RUST_SERVER
from tests.frameworks.test_tool_agents import PROGRAMS as AGENTS
from tests.frameworks.test_tool_clients import PROGRAMS as CLIENTS
from tests.interop.test_mcp_desktop_typescript import CLIENTS as TYPESCRIPT
from tests.interop.test_mcp_desktop_typescript import WAYS
from tests.interop.test_mcp_hub_servers import KINDS

TESTS: Final = Path(__file__).parent
CLIENT: Final = "client"
SERVER: Final = "server"
HTTP: Final = "streamable HTTP"
WALLED: Final = f"{HTTP}, from inside the walls"
PIPED: Final = "standard input and output, through `hive mcp`"
Row = dict[str, str]


def rows() -> list[Row]:
    """Return all rows, as the tables of the tests have them now."""
    return [*_clients(), *_servers()]


def _clients() -> Iterator[Row]:
    for name, (_, requires) in CLIENTS.items():
        test = "frameworks/test_tool_clients.py::test_an_unmodified_client_uses_the_tools_it_was_granted"
        yield _row(CLIENT, _package(requires[-1]), WALLED, f"{test}[{name}]")
    for name, (_, requires) in AGENTS.items():
        test = "frameworks/test_tool_agents.py::test_a_model_decides_for_a_tool_and_answers_with_what_it_said"
        program = f"an agent of {_package(requires[0])}"
        yield _row(CLIENT, program, WALLED, f"{test}[{name}]")
    for revision, mode in (("2026-07-28", "auto"), ("2025-11-25", "legacy")):
        test = "interop/test_mcp_front_official.py::test_a_client_of_either_era_uses_everything"
        how = f"{HTTP}, revision {revision}"
        yield _row(CLIENT, f"mcp {version('mcp')}", how, f"{test}[{mode}-{revision}]")
    packages = json.loads((TESTS / "interop" / "js_mcp" / "package.json").read_text())
    known = packages["dependencies"]
    for name in TYPESCRIPT:
        package = "@modelcontextprotocol/" + ("sdk" if name == "v1" else "client")
        mode = {"v2-legacy": ", older revisions", "v2-auto": ", newest revision"}.get(name, "")
        for way in WAYS:
            test = "interop/test_mcp_desktop_typescript.py::test_a_typescript_program_uses_an_agent"
            how = (HTTP if way == "http" else PIPED) + mode
            yield _row(CLIENT, f"{package} {known[package]}", how, f"{test}[{name}-{way}]")


def _servers() -> Iterator[Row]:
    folder = "end_to_end/test_mcp_reference_servers.py"
    piped = "standard input and output, behind the walls"
    for name, reference in REFERENCES.items():
        package = reference.package.partition(":")[2].split()[0].replace("==", "@")
        shown, _, number = package.rpartition("@")
        test = f"{folder}::test_a_server_lists_and_answers_behind_the_walls[{name}]"
        yield _row(SERVER, f"{shown} {number}", piped, test)
    program, _, number = GO_SERVER.rpartition("@")
    yield _row(
        SERVER, f"{program} {number}", piped, f"{folder}::test_a_server_in_go_keeps_its_graph"
    )
    yield _row(
        SERVER,
        " ".join(RUST_SERVER),
        piped,
        f"{folder}::test_a_server_in_rust_reads_the_granted_folder",
    )
    wires = {"http": HTTP, "sse": "SSE of 2024", "stdio": "standard input and output"}
    for kind in KINDS:
        wire, _, era = kind.partition("-")
        how = f"{wires[wire]}, revision {'2025-11-25' if era == 'older' else '2026-07-28'}"
        test = f"interop/test_mcp_hub_servers.py::test_tools_are_listed_and_called[{kind}]"
        yield _row(SERVER, f"mcp {version('mcp')}", how, test)


def _row(side: str, program: str, transport: str, test: str) -> Row:
    return {"side": side, "program": program, "transport": transport, "test": f"tests/{test}"}


def _package(requirement: str) -> str:
    name, _, number = requirement.partition("==")
    return f"{name.partition('[')[0]} {number}"


def missing_tests(shown: Sequence[Row]) -> list[str]:
    """Return the tests that rows name and that are not there."""
    found = []
    for row in shown:
        file, _, test = row["test"].partition("::")
        text = (TESTS.parent / file).read_text()
        if f"def {test.partition('[')[0]}(" not in text:
            found.append(row["test"])
    return found
