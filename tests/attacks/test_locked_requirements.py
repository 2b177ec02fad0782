"""An index serves something else than what the agent's lock names: another file, another version, one more package.

The lock is signed with the agent; what is built has to be what it says, or nothing is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from hive.core.errors import BuildError
from hive.execution.environment_lock import lock_digest
from hive.testing.wheel_index import make_wheel
from hive.testing.workshop import Workshop, inside, open_workshop

pytestmark = pytest.mark.anyio
WHEEL = "greeter-1.0-py3-none-any.whl"
GOOD = {"greeter.py": "WORD = 'good'"}
EVIL = {"greeter.py": "WORD = 'evil'"}
WORD = "import greeter; print(greeter.WORD)"


def locked(name: str, wheel: bytes, *, version: str = "1.0", needs: Sequence[str] = ()) -> str:
    needed = ", ".join(f'{{ name = "{one}" }}' for one in needs)
    file = f"https://files.example/{name}-{version}-py3-none-any.whl"
    return f"""
[[package]]
name = "{name}"
version = "{version}"
source = {{ registry = "https://pypi.example/simple" }}
dependencies = [{needed}]
wheels = [{{ url = "{file}", hash = "sha256:{sha256(wheel).hexdigest()}", size = {len(wheel)} }}]
"""


def write_source(
    folder: Path, requirements: Sequence[str], names: Sequence[str], packages: str
) -> Path:
    """Write an agent's folder as `uv lock` leaves it."""
    folder.mkdir(exist_ok=True)
    named = ", ".join(f'"{one}"' for one in requirements)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "agent"\nversion = "1"\nrequires-python = ">=3.11"\n'
        f"dependencies = [{named}]\n"
    )
    direct = ", ".join(f'{{ name = "{one}" }}' for one in names)
    (folder / "uv.lock").write_text(
        'version = 1\nrequires-python = ">=3.11"\n\n[[package]]\nname = "agent"\n'
        f'version = "1"\nsource = {{ virtual = "." }}\ndependencies = [{direct}]\n{packages}'
    )
    return folder


async def built(shop: Workshop, source: Path, *requirements: str) -> Path:
    lock = lock_digest(source, requirements)
    assert lock, "the lock binds these requirements"
    return await shop.ensure(replace(shop.plan(*requirements), source=str(source), lock=lock))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    packages = locked("greeter", make_wheel("greeter", GOOD))
    return write_source(tmp_path / "agent", ["greeter>=1"], ["greeter"], packages)


def offer(shop: Workshop, files: Mapping[str, str], version: str = "1.0") -> None:
    name = WHEEL.replace("1.0", version)
    shop.index.files[name] = make_wheel("greeter", files, version=version)


async def test_another_wheel_under_the_locked_version_is_not_installed(tmp_path, source) -> None:
    async with open_workshop(tmp_path) as shop:
        offer(shop, EVIL)
        with pytest.raises(BuildError, match="(?i)hash mismatch") as caught:
            await built(shop, source, "greeter>=1")
        assert "find out why" in caught.value.fix
        # Without the lock it is installed and runs:
        place = await shop.ensure(shop.plan("greeter>=1"))
        assert await inside(shop, place, WORD) == ["evil"]


async def test_a_newer_release_does_not_slip_in(tmp_path, source) -> None:
    async with open_workshop(tmp_path) as shop:
        offer(shop, GOOD)
        offer(shop, EVIL, "1.1")
        assert await inside(shop, await built(shop, source, "greeter>=1"), WORD) == ["good"]
        place = await shop.ensure(shop.plan("greeter>=1"))
        assert await inside(shop, place, WORD) == ["evil"], "without the lock"


async def test_what_a_wheel_demands_beyond_the_lock_is_not_installed(tmp_path) -> None:
    wheel = make_wheel("greeter", GOOD, requires=["helper"])
    packages = locked("greeter", wheel)
    source = write_source(tmp_path / "agent", ["greeter"], ["greeter"], packages)
    async with open_workshop(tmp_path) as shop:
        shop.index.files[WHEEL] = wheel
        shop.index.add_wheel("helper", {"helper.py": ""})
        with pytest.raises(BuildError, match="Hash-checking") as caught:
            await built(shop, source, "greeter")
        assert "uv lock" in caught.value.fix


async def test_all_that_a_lock_names_is_installed_and_a_changed_lock_is_another_environment(
    tmp_path,
) -> None:
    wheel, more = (
        make_wheel("greeter", GOOD, requires=["more"]),
        make_wheel("more", {"more.py": ""}),
    )
    packages = locked("greeter", wheel, needs=["more"]) + locked("more", more)
    source = write_source(tmp_path / "agent", ["greeter"], ["greeter"], packages)
    async with open_workshop(tmp_path) as shop:
        shop.index.files |= {WHEEL: wheel, "more-1.0-py3-none-any.whl": more}
        place = await built(shop, source, "greeter")
        assert await inside(shop, place, "import greeter, more; print(1)") == ["1"]
        found = shop.environments.store.find(place.name)
        assert found
        assert dict(found.packages) == {"greeter": "1.0", "more": "1.0"}
        other = locked("greeter", make_wheel("greeter", EVIL), needs=["more"])
        write_source(source, ["greeter"], ["greeter"], other + locked("more", more))
        with pytest.raises(BuildError, match="(?i)hash mismatch"):
            await built(shop, source, "greeter")


async def test_a_lock_below_the_requirements_builds_nothing(tmp_path) -> None:
    packages = locked("greeter", make_wheel("greeter", GOOD))
    source = write_source(tmp_path / "agent", ["greeter>=2"], ["greeter"], packages)
    async with open_workshop(tmp_path) as shop:
        offer(shop, GOOD)
        with pytest.raises(BuildError, match="fits both"):
            await built(shop, source, "greeter>=2")


@pytest.mark.parametrize("names", [[], ["greeter", "more"], ["other"]])
def test_a_lock_of_other_requirements_is_refused(tmp_path, names) -> None:
    wheel = make_wheel("greeter", GOOD)
    packages = locked("greeter", wheel) + locked("more", wheel) + locked("other", wheel)
    source = write_source(tmp_path / "agent", ["greeter"], names, packages)
    with pytest.raises(BuildError, match="does not fit"):
        lock_digest(source, ("greeter",))


@pytest.mark.parametrize(
    "package",
    [
        'source = { git = "https://evil.example/x#abc" }',
        'source = { url = "https://evil.example/x-1.0-py3-none-any.whl" }',
        'source = { registry = "https://pypi.example/simple" }',
    ],
)
async def test_a_lock_that_takes_a_package_from_elsewhere_or_without_a_hash_builds_nothing(
    tmp_path, package
) -> None:
    entry = f'\n[[package]]\nname = "greeter"\nversion = "1.0"\n{package}\n'
    source = write_source(tmp_path / "agent", ["greeter"], ["greeter"], entry)
    async with open_workshop(tmp_path) as shop:
        offer(shop, EVIL)
        with pytest.raises(BuildError):
            await built(shop, source, "greeter")


@pytest.mark.parametrize("text", ["[[", "version = 1", "\xff"])
def test_a_lock_that_cannot_be_read_is_refused(source, text) -> None:
    (source / "uv.lock").write_bytes(text.encode("latin-1"))
    with pytest.raises(BuildError, match="does not fit"):
        lock_digest(source, ("greeter>=1",))


def test_requirements_that_stand_elsewhere_are_not_what_it_locks(source) -> None:
    assert lock_digest(source, ("another==1.0",)) == ""
    (source / "uv.lock").unlink()
    assert lock_digest(source, ("greeter>=1",)) == ""


async def test_one_hash_in_a_requirements_file_demands_all(tmp_path) -> None:
    wheel = make_wheel("greeter", GOOD, requires=["helper"])
    named = f"greeter==1.0 --hash=sha256:{sha256(wheel).hexdigest()}"
    async with open_workshop(tmp_path) as shop:
        shop.index.files[WHEEL] = wheel
        shop.index.add_wheel("helper", {"helper.py": ""})
        with pytest.raises(BuildError, match="Hash-checking"):
            await shop.ensure(shop.plan(named))
        helper = shop.index.files["helper-1.0-py3-none-any.whl"]
        beside = f"helper==1.0 --hash=sha256:{sha256(helper).hexdigest()}"
        assert await inside(shop, await shop.ensure(shop.plan(named, beside)), WORD) == ["good"]


def test_a_lock_as_uv_writes_it_fits_its_own_requirements(tmp_path) -> None:
    requirements = ("more[fast,safe]>=1", "other; python_version < '3.9'", "greeter")
    source = write_source(tmp_path / "agent", requirements, ["greeter"], "")
    lock = (source / "uv.lock").read_text()
    (source / "uv.lock").write_text(f"""{lock}
[package.metadata]
requires-dist = [
    {{ name = "greeter" }},
    {{ name = "linter", marker = "extra == 'dev'" }},
    {{ name = "more", extras = ["fast", "safe"], specifier = ">=1" }},
    {{ name = "other", marker = "python_full_version < '3.9'" }},
]
provides-extras = ["dev"]
""")
    assert lock_digest(source, requirements)
    with pytest.raises(BuildError, match="does not fit"):
        lock_digest(
            write_source(tmp_path / "other", ["more[fast]>=1"], ["more"], ""), ("more[fast]>=1",)
        )
