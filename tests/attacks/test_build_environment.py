"""Packages that attack their builder: builds that read the home, code before the first line, other hosts."""

from datetime import timedelta
from pathlib import Path

import pytest

from hive.core.clock import SystemClock
from hive.core.errors import BuildError, SpecError
from hive.core.ids import OwnerId
from hive.execution.environment_builder import BuildLimits
from hive.testing.workshop import inside, open_workshop

pytestmark = pytest.mark.anyio

BACKEND = """
import os, pathlib, socket, sys

def _look():
    told = []
    for place in {places!r}:
        try:
            told.append("READ " + pathlib.Path(place).read_text()[:20])
        except OSError as error:
            told.append(type(error).__name__)
    for name in ("HIVE_MASTER_KEY", "HIVE_OPERATOR_TOKEN"):
        told.append(str(os.environ.get(name)))
    try:
        socket.create_connection(("{host}", {port}), 2).close()
        told.append("CONNECTED")
    except OSError as error:
        told.append(type(error).__name__)
    for place in {writes!r}:
        try:
            pathlib.Path(place, "planted").write_text("x")
            told.append("WROTE " + place)
        except OSError as error:
            told.append(type(error).__name__)
    return " ".join(told)

def build_wheel(folder, *_):
    sys.path.insert(0, os.path.dirname(__file__))
    import wheels
    data = wheels.make_wheel("sneaky", {{"sneaky.py": "TOLD = " + repr(_look())}})
    pathlib.Path(folder, "sneaky-1.0-py3-none-any.whl").write_bytes(data)
    return "sneaky-1.0-py3-none-any.whl"

def prepare_metadata_for_build_wheel(folder, *_):
    info = pathlib.Path(folder, "sneaky-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: sneaky\\nVersion: 1.0\\n")
    return info.name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "sneaky"
version = "1.0"
"""


def sneaky(places: list[str], writes: list[str], port: int) -> dict[str, str]:
    from hive.testing import wheel_index

    wheels = Path(wheel_index.__file__).read_text()
    wheels = wheels.partition("class WheelIndex")[0].replace("import anyio\n", "")
    wheels = wheels.replace("from starlette.types import Receive, Scope, Send\n", "")
    backend = BACKEND.format(places=places, writes=writes, host="127.0.0.1", port=port)
    return {"pyproject.toml": PROJECT, "backend.py": backend, "wheels.py": wheels}


async def test_a_build_that_reads_the_home_finds_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "key").write_text("PRIVATE")
    async with open_workshop(tmp_path) as shop:
        secret = shop.folder / "state" / "vault.key"
        secret.parent.mkdir(parents=True)
        secret.write_text("PRIVATE")
        port = int(shop.url.rpartition(":")[2])
        reads = [str(home / "key"), str(secret), "/etc/shadow", str(Path.home() / ".bashrc")]
        shop.index.add_source(
            "sneaky", sneaky(reads, [str(home), "/usr", str(secret.parent)], port)
        )
        with pytest.raises(BuildError, match=r"(?i)wheel|build") as caught:
            await shop.ensure(shop.plan("sneaky"))
        assert "--allow-build" in caught.value.fix
        place = await shop.ensure(shop.plan("sneaky", allow_build=True))
        (told,) = await inside(shop, place, "import sneaky; print(sneaky.TOLD)")
        assert "READ" not in told
        assert "WROTE" not in told
        assert "CONNECTED" not in told
        assert told.count("None") == 2
        assert not list(tmp_path.rglob("planted"))
        # Without the walls the same build finds the key:
        namespace: dict[str, object] = {}
        exec(sneaky([str(home / "key")], [], port)["backend.py"], namespace)
        look = namespace["_look"]
        assert callable(look)
        assert "READ PRIVATE" in look()
        assert "CONNECTED" in look()


@pytest.mark.parametrize("name", ["sneaky.pth", "sitecustomize.py", "usercustomize/__init__.py"])
async def test_code_that_would_run_at_every_start_is_refused_and_never_runs(
    tmp_path: Path, name: str
) -> None:
    async with open_workshop(tmp_path) as shop:
        code = "import os; print('STARTED', flush=True)\n"
        shop.index.add_wheel("sneaky", {name: code, "sneaky.py": ""})
        with pytest.raises(BuildError, match="sneaky") as caught:
            await shop.ensure(shop.plan("sneaky"))
        assert "every start" in caught.value.what
        assert "STARTED" not in "".join(shop.lines)
        # Without the guard it runs unasked: allowing builds lets it through, and reports it.
        place = await shop.ensure(shop.plan("sneaky", allow_build=True))
        assert "STARTED" not in "".join(shop.lines)
        found = shop.environments.store.find(place.name)
        assert found
        assert found.startup
        if not name.startswith("usercustomize"):  # an isolated start leaves this one out
            assert "STARTED" in await inside(shop, place, "print('the agent')")


@pytest.mark.parametrize(
    "path",
    [
        "sneaky-1.0.data/data/pyvenv.cfg",
        "sneaky-1.0.data/data/bin/python3",
        "sneaky-1.0.data/scripts/python",
    ],
)
async def test_a_wheel_cannot_replace_the_interpreter_of_its_environment(
    tmp_path: Path, path: str
) -> None:
    async with open_workshop(tmp_path) as shop:
        text = "#!/bin/sh\necho STARTED\n"
        shop.index.add_wheel("sneaky", {path: text, "sneaky.py": ""})
        with pytest.raises(BuildError):
            await shop.ensure(shop.plan("sneaky"))


async def test_a_wheel_that_climbs_out_of_its_environment_changes_nothing(tmp_path: Path) -> None:
    async with open_workshop(tmp_path) as shop:
        up = "../" * 12 + str(tmp_path / "planted").lstrip("/")
        shop.index.add_wheel("sneaky", {up: "x", "sneaky.py": "", "/etc/planted": "x"})
        try:
            await shop.ensure(shop.plan("sneaky"))
        except BuildError as error:
            assert error.what  # noqa: PT017 - either answer will do, as long as nothing was written
        assert not (tmp_path / "planted").exists()
        assert not Path("/etc/planted").exists()


async def test_a_small_wheel_with_a_huge_file_does_not_fill_the_disk(tmp_path: Path) -> None:
    async with open_workshop(tmp_path) as shop:
        shop.index.add_wheel("bomb", {f"b{n}.bin": bytes(100 << 20) for n in range(4)})
        shop.environments = shop.another(BuildLimits(environment_max_bytes=64 << 20))
        with pytest.raises(BuildError, match="too large"):
            await shop.ensure(shop.plan("bomb"))
        left = sum(
            path.stat().st_size for path in (tmp_path / "state").rglob("*") if path.is_file()
        )
        assert left < 2 << 20


async def test_an_index_cannot_send_the_builder_to_an_inner_host(tmp_path: Path) -> None:
    async with open_workshop(tmp_path) as inner:
        inner.index.add_wheel("greeter", {"greeter.py": ""})
        async with open_workshop(tmp_path / "outer") as shop:
            shop.index.add_wheel("greeter", {"greeter.py": ""})
            shop.index.redirect("/files/greeter-1.0-py3-none-any.whl", inner.url)
            with pytest.raises(BuildError) as caught:
                await shop.ensure(shop.plan("greeter"))
            assert "HIVE_INDEX_HOSTS" in caught.value.fix
            assert shop.doors.refused
            assert not [path for path in inner.index.asked if path.startswith("/files")]


async def test_a_poisoned_cache_of_one_owner_reaches_no_other(tmp_path: Path) -> None:
    async with open_workshop(tmp_path) as shop:
        shop.index.add_wheel("greeter", {"greeter.py": "WORD = 'good'\n"})
        await shop.ensure(shop.plan("greeter", owner=OwnerId("mallory")))
        cached = list((tmp_path / "state" / "builders").rglob("greeter.py"))
        assert cached
        for path in cached:
            path.write_text("WORD = 'poisoned'\n")
        place = await shop.ensure(shop.plan("greeter", owner=OwnerId("alice")))
        assert await inside(shop, place, "import greeter; print(greeter.WORD)") == ["good"]


async def test_a_staged_source_that_was_changed_is_not_started(tmp_path: Path) -> None:
    from hive.core.spec import StartKind
    from hive.execution.prepare import Preparer
    from hive.execution.source import find_source
    from hive.execution.source_copy import stage

    folder = tmp_path / "src" / "agent"
    folder.mkdir(parents=True)
    (folder / "agent.py").write_text("agent = print\n")
    found = find_source("agent.py:agent", cwd=folder, home=tmp_path)
    async with open_workshop(tmp_path) as shop:
        state = tmp_path / "state"
        preparer = Preparer(state=state, home=tmp_path, environments=shop.environments)
        assert found.visible
        place = stage(found.visible, state)
        ready = await preparer.prepare(found.spec, OwnerId("alice"), on_line=print)
        assert ready.spec.entry.kind is StartKind.PYTHON
        assert str(place) in ready.reads
        assert str(folder) not in " ".join((*ready.reads, *ready.argv))
        (place / "agent.py").chmod(0o644)
        (place / "agent.py").write_text("import os; os.system('id')\n")
        with pytest.raises(SpecError, match="not as it was confirmed"):
            await preparer.prepare(found.spec, OwnerId("alice"), on_line=print)


@pytest.mark.parametrize("uploaded", ["an hour ago", "untold"])
async def test_a_release_of_this_hour_is_not_taken_where_releases_have_to_ripen(
    tmp_path: Path, uploaded: str
) -> None:
    now = SystemClock().now()
    old, young = ((now - timedelta(days=days)).isoformat() for days in (30, 0.04))
    async with open_workshop(tmp_path) as shop:
        for name in ("ripe", "young"):
            shop.index.add_wheel(name, {f"{name}.py": ""})
        shop.index.uploaded["ripe-1.0-py3-none-any.whl"] = old
        if uploaded == "an hour ago":
            shop.index.uploaded["young-1.0-py3-none-any.whl"] = young
        assert await shop.ensure(shop.plan("young")), "without the setting it is taken at once"
        shop.environments = shop.another(age_days=7)
        assert await shop.ensure(shop.plan("ripe"))
        with pytest.raises(BuildError, match="did not build"):
            await shop.ensure(shop.plan("young"))
