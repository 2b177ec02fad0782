"""Packages of tool servers without a build: their names, the commands they declare, what is run for a spec."""

import json
from pathlib import Path

import anyio
import pytest

from hive.core.errors import EngineUnavailableError, SpecError
from hive.core.grant import Grant, PathRule
from hive.core.ids import OwnerId
from hive.execution.environment_node import NodeProgram, host_node, node_at
from hive.execution.environment_npm import check_links, read_lock
from hive.execution.packages import PackageKind, read_package
from hive.execution.tool_packages import BuiltPackage, hide_programs, npm_programs, python_programs
from hive.protocols.mcp.ports import ServerSpec, TransportKind
from hive.testing.server_shop import ServerShop, open_server_shop

pytestmark = pytest.mark.anyio
ALICE = OwnerId("alice")
NODE = NodeProgram(path="/usr/bin/node", version=(20, 1, 0), npm="/usr/lib/node_modules/npm")


def built(
    programs: dict[str, tuple[str, ...]], name: str = "npm:@scope/weather@1.0.0"
) -> BuiltPackage:
    return BuiltPackage(
        package=read_package(name),
        digest="d",
        programs=programs,
        tools={"node": ("/usr/bin/node",)},
        reads=(),
        environment={},
    )


@pytest.mark.parametrize(
    "text",
    [
        "npm:weather", "npm:weather@1.2.3", "npm:@scope/weather@1.2.3-beta.1", "npm:weather@latest",
        "pypi:weather", "pypi:weather==1.2.3", "pypi:weather[cli,x]==2026.1.1.post1",
        "pypi:weather==1 mcp<2",
    ],
)  # fmt: skip
def test_a_name_reads_as_it_is_written(text: str) -> None:
    package = read_package(text)
    assert str(package) == text
    assert package.kind is PackageKind(text.partition(":")[0])
    assert package.pinned("9.9.9").version == "9.9.9"


def test_a_command_begins_with_the_package_s_program_or_is_its_arguments() -> None:
    one = built({"mcp-server-weather": ("/usr/bin/node", "/e/index.js")})
    assert one.command(()) == ("/usr/bin/node", "/e/index.js")
    assert one.command(("/data", "-v")) == ("/usr/bin/node", "/e/index.js", "/data", "-v")
    assert one.command(("mcp-server-weather", "-v")) == ("/usr/bin/node", "/e/index.js", "-v")
    assert one.command(("node", "-v")) == ("/usr/bin/node", "-v")
    several = built({"weather": ("/a",), "other": ("/b",)})
    assert several.command(("-v",)) == ("/a", "-v")
    assert several.command(("other",)) == ("/b",)
    with pytest.raises(SpecError, match="which program"):
        built({"one": ("/a",), "two": ("/b",)}).command(("-v",))
    with pytest.raises(SpecError, match="which program"):
        built({}).command(())


def test_programs_of_npm_stay_inside_their_package(tmp_path: Path) -> None:
    folder = tmp_path / "node_modules" / "@scope" / "weather"
    (folder / "dist").mkdir(parents=True)
    (folder / "dist" / "index.js").write_text("#!/usr/bin/env node\n")
    (folder / "native").write_bytes(b"\x7fELF...")
    declared = {"good": "./dist/index.js", "native": "native", "up": "../../../x", "none": "no.js"}
    (folder / "package.json").write_text(json.dumps({"bin": declared}))
    (tmp_path / "x").write_text("")
    found = npm_programs(tmp_path, "@scope/weather", NODE)
    assert found == {
        "good": ("/usr/bin/node", f"{folder}/dist/index.js"),
        "native": (f"{folder}/native",),
    }
    (folder / "package.json").write_text(json.dumps({"bin": "dist/index.js"}))
    assert list(npm_programs(tmp_path, "@scope/weather", NODE)) == ["weather"]
    for broken in ("[]", "{", '{"bin": 3}', '{"bin": ["x"]}'):
        (folder / "package.json").write_text(broken)
        assert npm_programs(tmp_path, "@scope/weather", NODE) == {}


def test_programs_of_python_are_those_of_the_package_itself(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    for name, script in (("weather_server", "weather"), ("other", "other")):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "entry_points.txt").write_text(f"[console_scripts]\n{script} = {name}:main\n")
        (info / "RECORD").write_text(f"../../../bin/{script},,\n../../../bin/raw-{script},,\n")
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / script).write_text("#!/e/bin/python\n")
        (tmp_path / "bin" / f"raw-{script}").write_bytes(b"\x7fELF")
    found = python_programs(tmp_path, "Weather.Server", ("/e/python",))
    assert found == {
        "weather": ("/e/python", f"{tmp_path}/bin/weather"),
        "raw-weather": (f"{tmp_path}/bin/raw-weather",),
    }


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    bin_folder = tmp_path / "node_modules" / ".bin"
    bin_folder.mkdir(parents=True)
    (tmp_path / "node_modules" / "x.js").write_text("")
    (bin_folder / "x").symlink_to("../x.js")
    check_links(tmp_path)
    (bin_folder / "home").symlink_to("../../../..")
    with pytest.raises(SpecError, match="leads out"):
        check_links(tmp_path)


@pytest.mark.parametrize(
    ("entry", "good"),
    [
        ({"version": "1", "integrity": "sha512-x"}, True),
        ({"version": "1", "inBundle": True}, True),
        ({"version": "1"}, False),
        ({"version": "1", "integrity": "sha512-x", "link": True}, False),
    ],
)
def test_what_was_not_checked_is_not_installed(
    tmp_path: Path, entry: dict[str, object], *, good: bool
) -> None:
    lock = {"packages": {"": {}, "node_modules/weather": entry}}
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    if good:
        assert read_lock(tmp_path)["node_modules/weather"].version == "1"
        return
    with pytest.raises(SpecError, match="not checked"):
        read_lock(tmp_path)


def test_no_list_is_no_environment(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no list"):
        read_lock(tmp_path)


def test_only_a_node_that_is_new_enough_counts(tmp_path: Path) -> None:
    for version, obeys in (
        ("16.0.0", None),
        ("20.1.0", False),
        ("22.21.0", True),
        ("24.0.0", True),
    ):
        place = tmp_path / version / "bin"
        place.mkdir(parents=True)
        told = json.dumps([version, str(place / "node")])
        (place / "node").write_text(f"#!/bin/sh\necho '{told}'\n")
        (place / "node").chmod(0o755)
        npm = tmp_path / version / "lib" / "node_modules" / "npm" / "bin"
        npm.mkdir(parents=True)
        (npm / "npm-cli.js").write_text("")
        found = node_at(str(place / "node"))
        assert (found.obeys_proxy if found else None) is obeys
        if found:
            assert found.reads == (str(tmp_path / version),)
    assert node_at(str(tmp_path / "none")) is None
    assert node_at("/bin/true") is None


def test_a_node_of_the_system_needs_no_mount() -> None:
    assert NODE.reads == ()
    assert host_node("/bin/false") is None or host_node("/bin/false").path != "/bin/false"


def test_hidden_programs_say_that_there_is_none(tmp_path: Path) -> None:
    folder = hide_programs(tmp_path / "hidden")
    assert sorted(one.name for one in hide_programs(folder).iterdir()) == ["node", "npm", "npx"]


def spec(argv: tuple[str, ...] = (), **more: object) -> ServerSpec:
    return ServerSpec(name="weather", transport=TransportKind.STDIO, argv=argv, **more)


@pytest.mark.parametrize(
    "bad",
    [
        spec(),
        spec(("no-such-program",)),
        spec(("./server",)),
        spec(("/no/such/program",)),
        spec(("cat",), grant=Grant(paths=(PathRule(host="/no/such/path", inside="/data"),))),
        spec(("cat",), grant=Grant(paths=(PathRule(host="/tmp", inside="/etc"),))),
        spec(package="npm:../x"),
        ServerSpec(name="weather", transport=TransportKind.HTTP, url="http://127.0.0.1:1/"),
    ],
)
async def test_a_spec_that_cannot_run_is_told_as_one_plain_error(
    tmp_path: Path, bad: ServerSpec
) -> None:
    async with open_server_shop(tmp_path) as shop:
        with anyio.fail_after(30), pytest.raises(EngineUnavailableError, match="weather"):
            async with shop.launcher.launch(bad, ALICE, "one") as streams:
                # A program that is missing inside is known once it was to run.
                raise EngineUnavailableError("weather", why=await streams.wait_dead())
        assert not list((tmp_path / "run").iterdir())


async def use_badly(shop: ServerShop) -> None:
    async with shop.launcher.launch(spec(("cat",)), ALICE, "one") as streams:
        await streams.send(b"hello")
        assert await streams.receive() == b"hello"
        raise ZeroDivisionError


async def test_what_fails_in_the_body_comes_out_as_it_is(tmp_path: Path) -> None:
    async with open_server_shop(tmp_path) as shop:
        with pytest.raises(ZeroDivisionError):
            await use_badly(shop)
