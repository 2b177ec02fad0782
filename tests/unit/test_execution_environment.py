"""The parts of an environment that need no build: interpreters, start-up files, the store, plans."""

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from hive.core.clock import SystemClock
from hive.core.errors import BuildError, ConfigError, SpecError
from hive.core.grant import HostRule
from hive.core.ids import OwnerId
from hive.core.settings import load_settings
from hive.execution import environment_index as index
from hive.execution import environment_startup as startup
from hive.execution.environment_python import find_interpreter, find_uv, own_interpreter, satisfies
from hive.execution.environment_store import EnvironmentStore, Manifest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("demand", "fits"),
    [
        ("", True), (">=3.11", True), (">=3.11,<3.12", True), ("3.11", True), ("==3.11.*", True),
        ("~=3.11", True), ("~=3.11.5", True), ("3.11.7", True), ("!=3.11.*", False), ("<3.11", False),
        (">=3.12", False), ("3.1", False), ("==3.11", False), ("~=3.12", False), (">3.11.7", False),
    ],
)  # fmt: skip
def test_a_version_fits_its_demand(*, demand: str, fits: bool) -> None:
    assert satisfies((3, 11, 7), demand) is fits


def test_a_demand_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match="no version"):
        satisfies((3, 11, 7), ">=3.11; rm -rf /")


def test_the_nodes_own_interpreter_is_a_bare_one() -> None:
    own = own_interpreter()
    told = subprocess.run(
        [own.path, "-I", "-c", "import sys; print(sys.prefix == sys.base_prefix)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.strip() == "True"
    assert own.version == sys.version_info[:3]
    assert find_interpreter("", home=Path("/nobody")) == own


def test_an_interpreter_that_nothing_provides_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        find_interpreter("==2.7.*", home=tmp_path)
    assert "Python 3" in caught.value.why


def test_shims_and_scripts_are_not_taken_for_interpreters(tmp_path: Path) -> None:
    folder = tmp_path / ".pyenv" / "versions" / "9.9.9" / "bin"
    folder.mkdir(parents=True)
    trap = tmp_path / "ran"
    (folder / "python3.99").write_text(f"#!/bin/sh\ntouch {trap}\n")
    (folder / "python3.99").chmod(0o755)
    with pytest.raises(SpecError):
        find_interpreter(">=3.99", home=tmp_path)
    assert not trap.exists()


def environment(tmp_path: Path, **files: str) -> Path:
    site = tmp_path / "env" / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (site / name.replace("_dot_", ".")).write_text(text)
    return tmp_path / "env"


NAMESPACE = (
    "import sys, types, os;has_mfs = sys.version_info > (3, 5);p = os.path.join(sys._getframe(1)."
    "f_locals['sitedir'], *('google',));importlib = has_mfs and __import__('importlib.util');has_mfs "
    "and __import__('importlib.machinery');m = has_mfs and sys.modules.setdefault('google', importlib"
    ".util.module_from_spec(importlib.machinery.PathFinder.find_spec('google', [os.path.dirname(p)])))"
    ";m = m or sys.modules.setdefault('google', types.ModuleType('google'));mp = (m or []) and m."
    "__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)\n"
)
DISTUTILS = (
    "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == 'local';"
    " enabled and __import__('_distutils_hack').add_shim(); \n"
)


def test_known_harmless_start_up_files_pass(tmp_path: Path) -> None:
    found = environment(
        tmp_path,
        distutils_dash_precedence_dot_pth=DISTUTILS,
        google_nspkg_dot_pth=NAMESPACE,
        paths_dot_pth="../elsewhere\n# import\n",
        module_dot_py="import os",
    )
    assert startup.check_startup(found, allow_build=False) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.pth", "import os; os.system('id')"),
        ("x.pth", "\r\nimport\tos"),
        ("x.pth", "# a comment\rimport os"),
        ("x.pth", NAMESPACE + "import evil\n"),
        ("x.pth", NAMESPACE.replace("importlib.util", "evil")),
        ("x.pth", "x" * 70_000),
        ("sitecustomize.py", ""),
        ("usercustomize.py", ""),
        ("sitecustomize.cpython-311-x86_64-linux-gnu.so", ""),
        ("later.start", "evil:main"),
    ],
)
def test_code_at_every_start_is_found(tmp_path: Path, name: str, text: str) -> None:
    found = environment(tmp_path)
    (found / "lib/python3.11/site-packages" / name).write_text(text, newline="")
    with pytest.raises(BuildError, match="no record names"):
        startup.check_startup(found, allow_build=False)
    assert [one.path for one in startup.check_startup(found, allow_build=True)] == [name]


def test_a_start_up_file_that_is_a_link_counts_as_code(tmp_path: Path) -> None:
    found = environment(tmp_path)
    (found / "lib/python3.11/site-packages/x.pth").symlink_to("/etc/hostname")
    with pytest.raises(BuildError):
        startup.check_startup(found, allow_build=False)


def test_sealing_refuses_special_files_and_makes_the_rest_unchangeable(tmp_path: Path) -> None:
    found = environment(tmp_path, a_dot_py="x")
    (found / "link").symlink_to("/etc")
    assert startup.seal(found) > 0
    assert (found / "lib/python3.11/site-packages/a.py").stat().st_mode & 0o222 == 0
    (found / "lib").chmod(0o755)
    os.mkfifo(found / "lib" / "pipe")
    with pytest.raises(BuildError, match="no environment holds"):
        startup.seal(found)
    (found / "lib" / "pipe").unlink()


def manifest(digest: str, size: int = 100) -> Manifest:
    return Manifest(
        digest=digest, requirements=(), python="p", uv="u", allow_build=False, packages={},
        startup=(), size_bytes=size, built_at=SystemClock().now(),
    )  # fmt: skip


async def published(store: EnvironmentStore, digest: str, size: int = 100) -> None:
    async with store.building(digest) as folder:
        (folder.environment / "file").write_text("x")
        startup.seal(folder.environment)
        store.publish(folder, manifest(digest, size))


async def test_an_unfinished_build_is_never_found_and_the_next_one_removes_it(
    tmp_path: Path,
) -> None:
    store = EnvironmentStore(tmp_path)
    left = tmp_path / "environments" / ".building-abc-1" / "environment"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    assert store.find("abc") is None
    await published(store, "abc")
    assert store.find("abc") is not None
    assert not left.parent.exists()


async def test_an_environment_without_its_manifest_does_not_count(tmp_path: Path) -> None:
    store = EnvironmentStore(tmp_path)
    store.place("abc").mkdir(parents=True)
    assert store.find("abc") is None
    (store.place("abc") / "hive-environment.json").write_text("{")
    assert store.find("abc") is None
    await published(store, "abc")
    assert store.find("abc") is not None


async def test_what_was_used_longest_ago_goes_first_and_what_is_used_stays(tmp_path: Path) -> None:
    store = EnvironmentStore(tmp_path)
    for number, digest in enumerate(("old", "kept", "new")):
        await published(store, digest)
        os.utime(store.place(digest), (number, number))
    assert await store.trim(frozenset({"kept"}), max_bytes=250) == 100
    assert [store.find(one) is not None for one in ("old", "kept", "new")] == [False, True, True]


async def test_a_second_build_waits_for_the_first(tmp_path: Path) -> None:
    store, order = EnvironmentStore(tmp_path), list[str]()
    inside, leave = anyio.Event(), anyio.Event()

    async def first() -> None:
        async with store.locked("abc", timeout_s=5):
            inside.set()
            await leave.wait()
            order.append("first")

    async def second() -> None:
        await inside.wait()
        leave.set()
        async with store.locked("abc", timeout_s=5):
            order.append("second")

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first)
            tasks.start_soon(second)
    assert order == ["first", "second"]


async def test_a_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    store = EnvironmentStore(tmp_path)
    async with store.locked("abc", timeout_s=5):
        pass
    lock = tmp_path / "environments" / ".lock-abc"
    program = f"import fcntl,time;f=open({str(lock)!r});fcntl.flock(f,2);print('held',flush=True);time.sleep(60)"
    async with await anyio.open_process([sys.executable, "-c", program]) as holder:
        assert holder.stdout
        assert (await holder.stdout.receive()).startswith(b"held")
        with pytest.raises(BuildError, match="does not end"):
            async with store.locked("abc", timeout_s=0.3):
                pass
        holder.kill()
        await holder.wait()
        with anyio.fail_after(30):
            async with store.locked("abc", timeout_s=5):
                pass


def test_owners_have_caches_of_their_own(tmp_path: Path) -> None:
    store = EnvironmentStore(tmp_path)
    caches = {
        store.cache(OwnerId(owner), build)
        for owner in ("a", "b", "../b")
        for build in (True, False)
    }
    assert len(caches) == 6
    assert all(cache.is_relative_to(tmp_path / "builders") for cache in caches)


def test_the_index_is_the_operators_or_the_one_that_uv_names() -> None:
    default = index.default_index(find_uv("").path)
    assert default.startswith("https://")
    assert index.index_host(default).ports == (443,)
    assert index.index_host("http://10.0.0.1:8080/simple") == HostRule(
        host="10.0.0.1", ports=(8080,)
    )
    for bad in ("file:///tmp", "nonsense", "https://[", ""):
        with pytest.raises(ConfigError):
            index.index_host(bad)


def test_only_hosts_come_out_of_an_answer_of_the_index() -> None:
    lines = ["noise", "file-host files.example.org:443", "file-host *.evil:443", "file-host a b"]
    assert index.answered_hosts(lines) == (HostRule(host="files.example.org"),)
    with pytest.raises(BuildError, match="does not answer"):
        index.answered_hosts(["Traceback", "URLError: refused"])


def test_index_and_certificates_of_other_tools_stand_in_for_missing_settings(
    tmp_path: Path,
) -> None:
    given = {
        "HOME": str(tmp_path),
        "PIP_INDEX_URL": "https://i.example/p",
        "SSL_CERT_FILE": "/roots",
    }
    settings = load_settings(given)
    assert (settings.index_url, settings.ssl_cert_file) == ("https://i.example/p", "/roots")
    own = load_settings({**given, "HIVE_INDEX_URL": "https://own.example", "UV_INDEX_URL": "x"})
    assert own.index_url == "https://own.example"


def test_uv_is_found_and_a_wrong_one_is_a_clear_error() -> None:
    assert find_uv("").version[0].isdigit()
    with pytest.raises(ConfigError, match="uv does not run"):
        find_uv("/bin/false")
