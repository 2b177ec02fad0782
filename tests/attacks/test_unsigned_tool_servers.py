"""A tool server's package runs on a production node though nobody trusted has signed it, or as something else than was signed.

Each way is shown to run where no signature is demanded.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hive.core.clock import SystemClock
from hive.core.errors import EngineUnavailableError, SupplyError
from hive.core.grant import Grant, PathRule
from hive.core.randomness import SystemRandomness
from hive.execution.packages import PackageKind
from hive.execution.tool_content import package_digest
from hive.node.provenance import Provenance
from hive.node.tool_provenance import ToolProvenance, package_of_tool
from hive.protocols.mcp.ports import ServerSpec, TransportKind
from hive.security.supply_chain.book import PackageBook
from hive.security.supply_chain.drivers.keyring import KeyringVerifier
from hive.security.supply_chain.packages import sign_package
from hive.security.supply_chain.trust import PackageSigner, TrustFolder, make_pair
from hive.testing.npm_registry import NpmRegistry
from hive.testing.server_shop import ServerShop
from hive.testing.workshop import open_workshop
from tests.attacks.stdio_servers import SMALL, told_by
from tests.attacks.test_mcp_stdio_packages import server, shop_of

pytestmark = [pytest.mark.anyio, pytest.mark.peers]
SCRIPTS = "[console_scripts]\nweather = weather:main\n"
SAYS = "#!/usr/bin/env node\nconsole.log(WHAT + require('deep'));\n"


def registry_of(says: str = "'good '", deep: str = "module.exports = 'deep'") -> NpmRegistry:
    registry = NpmRegistry()
    registry.add("deep", {"index.js": deep})
    files = {"server.js": SAYS.replace("WHAT", says)}
    registry.add("weather", files, bin={"weather": "server.js"}, dependencies={"deep": "1.0.0"})
    return registry


class Signed:
    """A shop whose node knows one key; `told` is what its ledger would hold."""

    def __init__(self, shop: ServerShop, folder: Path) -> None:
        self.shop = shop
        self.state = shop.folder / "state"
        self.told: list[str] = []
        self.release = self.key(folder, "release")
        TrustFolder(self.state / "trust").add("release", self.release.der)

    @staticmethod
    def key(folder: Path, name: str) -> PackageSigner:
        folder.mkdir(exist_ok=True, parents=True)
        private = folder / f"{name}.key"
        return make_pair(private, private.with_suffix(".pub"), SystemRandomness())

    def demand(self, *, demanded: bool = True, book: PackageBook | None = None) -> ToolProvenance:
        async def note(name, _body):
            self.told.append(name)

        checked = ToolProvenance(
            provenance=Provenance(
                state=self.state,
                verifier=KeyringVerifier("keyring:", state=self.state),
                demanded=demanded,
                book=book,
            ),
            note=note,
        )
        self.shop.launcher.vouch = checked.vouch
        return checked

    async def bundle(self, spec: ServerSpec, key: PackageSigner | None = None) -> str:
        built, place = await self.shop.launcher.built(spec)
        package = package_of_tool(spec, built, place)
        return sign_package(package, key or self.release, issued=SystemClock().now()).decode()


@asynccontextmanager
async def signed_shop(tmp_path: Path, registry: NpmRegistry) -> AsyncIterator[Signed]:
    async with shop_of(tmp_path, registry) as shop:
        yield Signed(shop, tmp_path / "keys")


async def test_a_package_that_nobody_has_signed(tmp_path):
    async with signed_shop(tmp_path, registry_of()) as signed:
        assert await told_by(signed.shop, server()) == "good deep\n"
        checked = signed.demand()
        with pytest.raises(EngineUnavailableError, match="not signed"):
            await told_by(signed.shop, server())
        with pytest.raises(SupplyError, match="not signed"):
            await checked.admit(signed.shop.launcher, server(), "")
        stranger = signed.key(tmp_path / "keys", "stranger")
        theirs = await signed.bundle(server(), stranger)
        with pytest.raises(SupplyError, match="No key that is trusted"):
            await checked.admit(signed.shop.launcher, server(), theirs)
        with pytest.raises(EngineUnavailableError):
            await told_by(signed.shop, server())
        ours = await signed.bundle(server())
        pinned = await checked.admit(signed.shop.launcher, server("npm:weather"), ours)
        assert pinned.package == "npm:weather@1.0.0"
        assert await told_by(signed.shop, server()) == "good deep\n"
        assert signed.told == ["tool.package.verified"]


async def test_a_key_that_was_taken_away_counts_from_the_next_start_on(tmp_path):
    async with signed_shop(tmp_path, registry_of()) as signed:
        await signed.demand().admit(signed.shop.launcher, server(), await signed.bundle(server()))
        TrustFolder(signed.state / "trust").remove("release")
        with pytest.raises(EngineUnavailableError, match="No key that is trusted"):
            await told_by(signed.shop, server())


@pytest.mark.parametrize("other", ["the server", "what it depends on"])
async def test_the_registry_serves_other_files_under_the_same_version(tmp_path, other):
    async with signed_shop(tmp_path / "there", registry_of()) as there:
        bundle = await there.bundle(server())
    evil = (
        registry_of("'evil '")
        if other == "the server"
        else registry_of(deep="module.exports = 'evil'")
    )
    async with signed_shop(tmp_path / "here", evil) as here:
        TrustFolder(here.state / "trust").add("there", there.release.der)
        assert "evil" in await told_by(here.shop, server())
        with pytest.raises(SupplyError, match="something else"):
            await here.demand().admit(here.shop.launcher, server(), bundle)
    async with signed_shop(tmp_path / "good", registry_of()) as good:
        TrustFolder(good.state / "trust").add("there", there.release.der)
        await good.demand().admit(good.shop.launcher, server(), bundle)


async def test_the_built_package_is_changed_before_a_start(tmp_path):
    async with signed_shop(tmp_path, registry_of()) as signed:
        await signed.demand().admit(signed.shop.launcher, server(), await signed.bundle(server()))
        _, place = await signed.shop.launcher.built(server())
        program = place / "node_modules" / "weather" / "server.js"
        program.chmod(0o755)
        program.write_text("console.log('evil')\n")
        with pytest.raises(EngineUnavailableError, match="something else"):
            await told_by(signed.shop, server())


def turned_aside(way: str, place: Path, evil: Path) -> ServerSpec:
    spec = server()
    match way:
        case "an interpreter in its place":
            return replace(spec, argv=("node", "-e", "console.log('evil')"))
        case "a variable":
            spec = replace(spec, environment={"NODE_OPTIONS": f"--require {evil}/evil.js"})
            inside = str(evil)
        case _:
            inside = f"{place}/node_modules/deep"
    rule = PathRule(host=str(evil), inside=inside)
    return replace(spec, grant=Grant(limits=SMALL, paths=(rule,)))


@pytest.mark.parametrize(
    "way", ["an interpreter in its place", "a variable", "files laid over its own"]
)
async def test_a_signed_package_is_made_to_run_something_else(tmp_path, way):
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("evil.js", "index.js"):
        (evil / name).write_text("console.log('evil')\n")
    async with signed_shop(tmp_path, registry_of()) as signed:
        bundle = await signed.bundle(server())
        _, place = await signed.shop.launcher.built(server())
        spec = turned_aside(way, place, evil)
        assert "evil" in await told_by(signed.shop, spec)
        checked = signed.demand()
        with pytest.raises(SupplyError, match="signed of its spec"):
            await checked.admit(signed.shop.launcher, spec, bundle)


async def test_a_command_has_nothing_that_could_be_signed(tmp_path):
    async with signed_shop(tmp_path, registry_of()) as signed:
        command = ServerSpec(
            name="weather",
            transport=TransportKind.STDIO,
            argv=("/bin/sh", "-c", "echo evil"),
            grant=Grant(limits=SMALL),
        )
        assert await told_by(signed.shop, command) == "evil\n"
        checked = signed.demand()
        with pytest.raises(SupplyError, match="no package"):
            await checked.admit(signed.shop.launcher, command, "")
        with pytest.raises(EngineUnavailableError, match="no package"):
            await told_by(signed.shop, command)


async def test_two_builds_of_one_package_are_the_same(tmp_path):
    digests = []
    for name in ("one", "two"):
        async with signed_shop(tmp_path / name, registry_of()) as signed:
            built, place = await signed.shop.launcher.built(server())
            digests.append(package_digest(place, built.package.kind))
    assert digests[0] == digests[1]


async def test_a_wheel_is_the_same_in_two_places_and_another_one_is_not(tmp_path):
    digests = {}
    for name, text in (("one", "X = 1\n"), ("two", "X = 1\n"), ("evil", "X = 2\n")):
        async with open_workshop(tmp_path / name) as shop:
            scripts = {"weather-1.0.dist-info/entry_points.txt": SCRIPTS}
            shop.index.add_wheel("weather", {"weather.py": text, **scripts})
            place = await shop.ensure(shop.plan("weather==1.0"))
            assert (place / "bin" / "weather").is_file()
            digests[name] = package_digest(place, PackageKind.PYPI)
    assert digests["one"] == digests["two"] != digests["evil"]


async def test_a_wheel_brings_compiled_files_that_say_something_else(tmp_path):
    async with open_workshop(tmp_path) as shop:
        compiled = f"__pycache__/weather.{sys.implementation.cache_tag}.pyc"
        shop.index.add_wheel("weather", {"weather.py": "X = 1\n", compiled: "x"})
        place = await shop.ensure(shop.plan("weather==1.0"))
        with pytest.raises(SupplyError, match="compiled"):
            package_digest(place, PackageKind.PYPI)


async def test_a_compiled_file_that_the_wheel_does_not_list_is_found_too(tmp_path):
    async with open_workshop(tmp_path) as shop:
        shop.index.add_wheel("weather", {"weather.py": "X = 1\n"})
        place = await shop.ensure(shop.plan("weather==1.0"))
        before = package_digest(place, PackageKind.PYPI)
        (compiled,) = place.glob("lib/python3*/site-packages/__pycache__/weather.*.pyc")
        own = compiled.read_bytes()
        compiled.parent.chmod(0o755)
        compiled.chmod(0o644)
        # With a time in its head, as if it belonged to the source: our compiler would have left it as it is.
        compiled.write_bytes(own[:4] + bytes(4) + own[8:])
        with pytest.raises(SupplyError, match="compiled"):
            package_digest(place, PackageKind.PYPI)
        compiled.write_bytes(own)
        assert package_digest(place, PackageKind.PYPI) == before
