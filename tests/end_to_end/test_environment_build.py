"""Environments built by the real uv behind the real walls, through the real egress door."""

import signal
import sys
from pathlib import Path

import anyio
import pytest

from hive.core.errors import BuildError
from hive.core.ids import OwnerId
from hive.execution.environment import Environments
from hive.testing.workshop import inside, open_workshop

pytestmark = pytest.mark.anyio


async def test_an_environment_is_built_once_and_used_behind_the_walls(tmp_path: Path) -> None:
    async with open_workshop(tmp_path) as shop:
        shop.index.add_wheel("greeter", {"greeter.py": "WORD = 'hello'\n"}, requires=["words"])
        shop.index.add_wheel("words", {"words/__init__.py": "x = 1\n"})
        place = await shop.ensure(shop.plan("greeter"))
        asked = len(shop.index.asked)
        assert await shop.ensure(shop.plan("greeter")) == place
        assert len(shop.index.asked) == asked
        found = shop.environments.store.find(place.name)
        assert found
        assert found.packages == {"greeter": "1.0", "words": "1.0"}
        told = await inside(shop, place, "import greeter; print(greeter.WORD, greeter.__file__)")
        assert told == [f"hello {next(place.glob('lib/python3*/site-packages'))}/greeter.py"]
        assert list(place.glob("lib/python3*/site-packages/__pycache__/greeter.*.pyc"))
        assert (place / "lib").stat().st_mode & 0o222 == 0
        assert any(line.startswith("Building its environment") for line in shop.lines)
        assert any(line.startswith("Its environment is ready: 2 packages") for line in shop.lines)


async def test_the_builder_reaches_the_index_alone(tmp_path: Path) -> None:
    async with open_workshop(tmp_path) as shop:
        shop.index.add_wheel("greeter", {"greeter.py": ""})
        await shop.ensure(shop.plan("greeter"))
        assert shop.doors.refused == []
        assert {target.rpartition(":")[0] for target in shop.doors.reached} == {"127.0.0.1"}


async def test_a_missing_package_is_told_in_the_words_of_uv(tmp_path: Path) -> None:
    async with open_workshop(tmp_path) as shop:
        shop.index.add_wheel("greeter", {"greeter.py": ""})
        with pytest.raises(BuildError) as caught:
            await shop.ensure(shop.plan("greeter", "not-there"))
        assert "not-there was not found" in caught.value.why
        assert (
            shop.environments.store.find(
                shop.environments.digest(shop.plan("greeter", "not-there"))
            )
            is None
        )


async def test_two_builds_of_one_plan_are_one(tmp_path: Path) -> None:
    async with open_workshop(tmp_path) as shop:
        shop.index.add_wheel("greeter", {"greeter.py": ""})
        plan, places = shop.plan("greeter"), list[Path]()
        other = shop.another()

        async def ensure(environments: Environments) -> None:
            made = await environments.ensure(plan, on_line=shop.lines.append)
            places.append(environments.place(made.digest))

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ensure, shop.environments)
                tasks.start_soon(ensure, other)
        assert places[0] == places[1]
        assert sum(line.startswith("Building its") for line in shop.lines) == 1


async def test_owners_never_share_an_environment(tmp_path: Path) -> None:
    async with open_workshop(tmp_path) as shop:
        shop.index.add_wheel("greeter", {"greeter.py": ""})
        first = await shop.ensure(shop.plan("greeter"))
        second = await shop.ensure(shop.plan("greeter", owner=OwnerId("bob")))
        assert first != second
        assert first.stat().st_ino != second.stat().st_ino


async def test_hashes_and_constraints_are_kept(tmp_path: Path) -> None:
    async with open_workshop(tmp_path) as shop:
        shop.index.add_wheel("greeter", {"greeter.py": ""})
        with pytest.raises(BuildError, match="Hash mismatch"):
            await shop.ensure(shop.plan("greeter==1.0 --hash=sha256:" + "0" * 64))
        with pytest.raises(BuildError):
            await shop.ensure(shop.plan("greeter", "-c greeter>2"))


async def test_a_build_that_is_killed_leaves_nothing_that_counts(tmp_path: Path) -> None:
    async with open_workshop(tmp_path) as shop:
        shop.index.add_wheel("greeter", {"greeter.py": ""})
        plan = shop.plan("greeter")
        digest, top = shop.environments.digest(plan), tmp_path / "state" / "environments"
        shop.index.hold("/files/greeter-1.0-py3-none-any.whl")
        async with await anyio.open_process(
            [sys.executable, "-c", BUILD, str(tmp_path), shop.url]
        ) as builder:
            with anyio.fail_after(30):
                await shop.index.held.wait()
            builder.send_signal(signal.SIGKILL)
        assert list(top.glob(f".building-{digest}-*"))
        assert shop.environments.store.find(digest) is None
        shop.index.release()
        place = await shop.ensure(plan)
        assert place.is_dir()
        assert list(top.glob(".building-*")) == []


BUILD = """
import sys
from pathlib import Path
import anyio
from hive.core.clock import SystemClock
from hive.core.ids import OwnerId
from hive.core.settings import load_settings
from hive.execution.drivers.process import ProcessDriver
from hive.execution.environment import Environments
from hive.execution.environment_builder import EnvironmentPlan
from hive.execution.environment_python import own_interpreter
from hive.testing.builder_doors import RehearsalBuilderDoors

async def main(folder, url):
    settings = load_settings({"HOME": folder}, state_dir=folder + "/state", index_url=url + "/simple")
    async with ProcessDriver() as driver:
        environments = Environments(settings=settings, driver=driver, clock=SystemClock(),
                                    doors=RehearsalBuilderDoors())
        plan = EnvironmentPlan(owner=OwnerId("alice"), requirements=("greeter",),
                               interpreter=own_interpreter())
        await environments.ensure(plan, on_line=print)

anyio.run(main, *sys.argv[1:])
"""
