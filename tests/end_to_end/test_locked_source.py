"""A whole way: `uv` locks a project, its copy is prepared, and what is installed is what the lock says."""

import subprocess
from pathlib import Path

import pytest
from anyio import to_thread

from hive.core.errors import BuildError
from hive.core.ids import OwnerId
from hive.execution.environment_python import find_uv, own_interpreter
from hive.execution.prepare import Preparer
from hive.execution.source import find_source
from hive.execution.source_copy import stage
from hive.testing.wheel_index import make_wheel
from hive.testing.workshop import Workshop, open_workshop

pytestmark = pytest.mark.anyio
PROJECT = """
[project]
name = "agent"
version = "1"
requires-python = ">=3.11"
dependencies = ["greeter>=1", "more ; python_version < '3.9'"]
[project.optional-dependencies]
dev = ["more"]
[dependency-groups]
test = ["more"]
"""


def lock(folder: Path, index: str) -> None:
    subprocess.run(
        [
            *(find_uv("").path, "lock", "--no-cache"),
            *("--default-index", index, "--python", own_interpreter().path),
        ],
        cwd=folder,
        env={"HOME": str(folder), "UV_PYTHON_DOWNLOADS": "never"},
        check=True,
        capture_output=True,
        timeout=60,
    )


async def prepared(shop: Workshop, folder: Path) -> list[str]:
    found = find_source(f"{folder / 'agent.py'}:agent", cwd=folder, home=shop.folder)
    state = shop.folder / "state"
    await to_thread.run_sync(stage, found.visible, state)
    preparer = Preparer(state=state, home=shop.folder, environments=shop.environments)
    made = await preparer.prepare(found.spec, OwnerId("alice"), on_line=shop.lines.append)
    manifest = shop.environments.store.find(made.digest)
    assert manifest
    return [f"{name} {version}" for name, version in manifest.packages.items()]


async def test_what_was_locked_is_installed_whatever_the_index_has_since(tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    folder.mkdir()
    (folder / "agent.py").write_text("def agent(text):\n    return text\n")
    (folder / "pyproject.toml").write_text(PROJECT)
    async with open_workshop(tmp_path) as shop:
        shop.index.tells_hashes = True
        for name in ("greeter", "more"):
            shop.index.add_wheel(name, {f"{name}.py": ""})
        await to_thread.run_sync(lock, folder, f"{shop.url}/simple")
        newer = make_wheel("greeter", {"greeter.py": "new"}, version="2.0")
        shop.index.files["greeter-2.0-py3-none-any.whl"] = newer
        assert await prepared(shop, folder) == ["greeter 1.0"]
        (folder / "pyproject.toml").write_text(PROJECT.replace("greeter>=1", "greeter>=2"))
        with pytest.raises(BuildError, match="fits both"):
            await prepared(shop, folder)
        (folder / "pyproject.toml").write_text(PROJECT.replace('"greeter>=1"', '"more"'))
        with pytest.raises(BuildError, match="does not fit"):
            await prepared(shop, folder)
        (folder / "uv.lock").unlink()
        (folder / "pyproject.toml").write_text(PROJECT)
        assert await prepared(shop, folder) == ["greeter 2.0"], "without a lock"
