"""Attack: a package of a tool server runs code while it is installed, is swapped, or comes from elsewhere."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from hive.core.clock import SystemClock
from hive.core.errors import BuildError, EngineUnavailableError, SpecError
from hive.core.grant import Grant
from hive.core.settings import load_settings
from hive.execution.environment_node import host_node
from hive.execution.packages import read_package
from hive.protocols.mcp.ports import ServerSpec, TransportKind
from hive.testing.loopback import serve_app
from hive.testing.npm_registry import NpmRegistry
from hive.testing.server_shop import ServerShop, open_server_shop
from tests.attacks.stdio_servers import SMALL, told_by

pytestmark = pytest.mark.anyio

SERVER = "#!/usr/bin/env node\nconsole.log('running ' + require('fs').existsSync(MARK));\n"
SCRIPT = "require('fs').writeFileSync(__dirname + '/ran.txt', 'x')"
OTHER_HASH = "sha512-" + "A" * 86 + "=="
BUILD_S = 120.0


def server(package: str = "npm:weather@1.0.0", *, scripts: bool = False) -> ServerSpec:
    return ServerSpec(
        name="weather",
        transport=TransportKind.STDIO,
        package=package,
        grant=Grant(limits=SMALL, packages=scripts),
    )


def weather(registry: NpmRegistry, **more: object) -> None:
    files = {"server.js": SERVER.replace("MARK", "__dirname + '/ran.txt'"), "install.js": SCRIPT}
    registry.add("weather", files, bin={"weather": "server.js"}, **more)


@asynccontextmanager
async def shop_of(
    tmp_path: Path, registry: NpmRegistry, **more: object
) -> AsyncIterator[ServerShop]:
    if host_node() is None:
        pytest.skip("needs Node.js")
    async with serve_app(registry) as url:
        settings = load_settings(
            {"HOME": str(tmp_path)}, state_dir=str(tmp_path / "state"), npm_registry_url=url, **more
        )
        with anyio.fail_after(BUILD_S):
            async with open_server_shop(tmp_path, settings=settings) as shop:
                yield shop


@pytest.mark.parametrize("allowed", [False, True])
async def test_an_install_script_runs_only_when_that_was_allowed(
    tmp_path: Path, *, allowed: bool
) -> None:
    registry = NpmRegistry()
    weather(registry, scripts={"postinstall": "node install.js"})
    async with shop_of(tmp_path, registry) as shop:
        told = await told_by(shop, server(scripts=allowed))
        assert told == f"running {'true' if allowed else 'false'}\n"
        command = await shop.launcher.prepare(server(scripts=allowed))
        manifest = shop.environments.store.find(command.digest)
        assert manifest
        assert manifest.allow_build is allowed
        assert len(manifest.startup) == 1
        assert manifest.integrity["node_modules/weather"].startswith("sha512-")
        assert manifest.packages == {"node_modules/weather": "1.0.0"}


async def test_an_archive_that_is_not_what_the_registry_says_is_refused(tmp_path: Path) -> None:
    registry = NpmRegistry()
    weather(registry, integrity=OTHER_HASH)
    async with shop_of(tmp_path, registry) as shop:
        with pytest.raises(EngineUnavailableError, match="EINTEGRITY"):
            await told_by(shop, server())
        assert not list((tmp_path / "state" / "environments").glob("[0-9a-f]*"))
        # The same archive with the right hash runs:
        weather(registry)
        assert await told_by(shop, server()) == "running false\n"


async def test_npm_reaches_its_registry_and_no_other_host(tmp_path: Path) -> None:
    registry, elsewhere = NpmRegistry(), NpmRegistry()
    weather(registry)
    weather(elsewhere)
    async with serve_app(elsewhere) as other, shop_of(tmp_path, registry) as shop:
        registry.archives_at = other.replace("127.0.0.1", "127.0.0.2")
        with pytest.raises(EngineUnavailableError):
            await told_by(shop, server())
        assert {target.rpartition(":")[0] for target in shop.builders.refused} == {"127.0.0.2"}
        assert elsewhere.asked == []
        registry.archives_at = ""
        assert await told_by(shop, server()) == "running false\n"


async def test_a_package_that_depends_on_a_url_is_refused(tmp_path: Path) -> None:
    registry, elsewhere = NpmRegistry(), NpmRegistry()
    elsewhere.add("bait", {"index.js": ""})
    async with serve_app(elsewhere) as other, shop_of(tmp_path, registry) as shop:
        weather(registry, dependencies={"bait": f"{other}/bait/-/it-1.0.0.tgz"})
        with pytest.raises(EngineUnavailableError):
            await told_by(shop, server())
        assert elsewhere.asked == []


async def test_a_package_is_built_once_and_never_changes(tmp_path: Path) -> None:
    registry = NpmRegistry()
    weather(registry)
    async with shop_of(tmp_path, registry) as shop:
        await told_by(shop, server())
        asked = len(registry.asked)
        registry.add("weather", {"server.js": "console.log('swapped')"}, bin="server.js")
        assert await told_by(shop, server()) == "running false\n"
        assert len(registry.asked) == asked
        command = await shop.launcher.prepare(server())
        place = shop.environments.place(command.digest)
        assert not [
            one for one in place.rglob("*") if not one.is_symlink() and one.stat().st_mode & 0o222
        ]


async def test_a_name_without_a_version_is_pinned_when_it_is_added(tmp_path: Path) -> None:
    registry = NpmRegistry()
    weather(registry)
    async with shop_of(tmp_path, registry) as shop:
        pinned = await shop.launcher.pin(server("npm:weather"))
        assert pinned.package == "npm:weather@1.0.0"
        with pytest.raises(BuildError, match="missing"):
            await shop.launcher.pin(server("npm:missing"))


async def test_an_environment_in_use_is_not_removed(tmp_path: Path) -> None:
    registry = NpmRegistry()
    weather(registry)
    async with shop_of(tmp_path, registry, environments_max_bytes=1) as shop:
        command = await shop.launcher.prepare(server())
        place = shop.environments.place(command.digest)
        with shop.environments.held(command.digest):
            await shop.environments.trim(frozenset())
            assert place.is_dir()
        await shop.environments.trim(frozenset())
        assert not place.exists()


@pytest.mark.parametrize(
    "text",
    [
        "npm:weather@https://example.org/x.tgz",
        "npm:git+https://example.org/x",
        "npm:../weather",
        "npm:weather@^1.0.0",
        "npm:--registry=http://example.org",
        "npm:weather@1.0.0 --foreground-scripts",
        "npm:alias@npm:weather@1.0.0",
        "pypi:weather @ https://example.org/x.whl",
        "pypi:weather>=1",
        "pypi:--index-url=http://example.org",
        "pypi:./weather",
        "pypi:weather==1 --index-url=http://example.org",
        "pypi:weather==1 other@https://example.org/x.whl",
        "npm:weather@1.0.0 other",
        "docker:weather",
        "weather",
        "npm:",
        "npm:" + "a" * 300,
    ],
)
def test_a_name_that_would_lead_elsewhere_is_no_package(text: str) -> None:
    with pytest.raises(SpecError):
        read_package(text)


@pytest.mark.parametrize("young", ["the package", "what it depends on"])
async def test_a_release_that_nobody_has_looked_at_yet_is_not_installed(
    tmp_path: Path, young: str
) -> None:
    registry = NpmRegistry()
    weather(registry, dependencies={"deep": "1.0.0"})
    registry.add("deep", {"index.js": ""})
    old, new = "2020-01-01T00:00:00.000Z", SystemClock().now().isoformat()
    registry.made_at = {"weather": old, "deep": old}
    async with shop_of(tmp_path / "old", registry, package_age_days=7) as shop:
        assert (await shop.launcher.pin(server("npm:weather"))).package == "npm:weather@1.0.0"
        assert await told_by(shop, server()) == "running false\n"
    registry.made_at["weather" if young == "the package" else "deep"] = new
    async with shop_of(tmp_path / "any", registry) as shop:
        assert await told_by(shop, server()) == "running false\n"
    async with shop_of(tmp_path / "new", registry, package_age_days=7) as shop:
        with pytest.raises(EngineUnavailableError, match="date before"):
            await told_by(shop, server())
        if young == "the package":
            with pytest.raises(BuildError, match="old enough"):
                await shop.launcher.pin(server("npm:weather"))
