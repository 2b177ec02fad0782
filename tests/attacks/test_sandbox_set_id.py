"""Attack: an agent leaves a program in a writable mount that runs as its owner, the host's root."""

import stat

import pytest

from hive.core.grant import Access, PathRule
from hive.execution.drivers.process import ProcessDriver
from hive.testing.sandbox_suite import run_script

pytestmark = pytest.mark.anyio

WAYS = {
    "chmod": "open(p, 'w').close(); os.chmod(p, 0o4755)",
    "chmod for the group": "open(p, 'w').close(); os.chmod(p, 0o2755)",
    "fchmod": "f = os.open(p, os.O_CREAT | os.O_WRONLY, 0o755); os.fchmod(f, 0o4755)",
    "openat": "os.open(p, os.O_CREAT | os.O_WRONLY, 0o4755)",
    "fchmodat2": (
        "open(p, 'w').close()\n"
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "if libc.syscall(452, -100, p.encode(), 0o4755, 0) < 0:\n"
        "    raise OSError(ctypes.get_errno(), 'fchmodat2')"
    ),
    "openat2": (
        "import ctypes, struct\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "how = struct.pack('QQQ', os.O_CREAT | os.O_WRONLY, 0o4755, 0)\n"
        "if libc.syscall(437, -100, p.encode(), how, len(how)) < 0:\n"
        "    raise OSError(ctypes.get_errno(), 'openat2')"
    ),
}


async def leave_a_program(folder, way: str, *, without: tuple[str, ...] = ()) -> bool:
    """Try one way; tell whether a set-id file lies in the host's folder afterwards."""
    place = folder / "shared"
    place.mkdir(exist_ok=True)
    script = f"import os\np = '/shared/program'\n{WAYS[way]}\n"
    async with ProcessDriver(without=without) as driver:
        mount = PathRule(host=str(place), inside="/shared", access=Access.WRITE)
        await run_script(driver, script, folder, mounts=[mount])
    program = place / "program"
    return program.exists() and bool(program.stat().st_mode & (stat.S_ISUID | stat.S_ISGID))


@pytest.mark.parametrize("way", WAYS)
async def test_no_set_id_program_is_left_on_the_host(tmp_path, way):
    assert not await leave_a_program(tmp_path, way)


@pytest.mark.parametrize("way", ["chmod", "openat2"])
async def test_without_the_filter_it_would_lie_there(tmp_path, way):
    assert await leave_a_program(tmp_path, way, without=("seccomp",))


async def test_ordinary_modes_stay_possible(tmp_path):
    place = tmp_path / "shared"
    place.mkdir()
    script = (
        "import os\np = '/shared/tool'\nopen(p, 'w').close()\nos.chmod(p, 0o755)\n"
        "os.mkdir('/shared/folder', 0o1777)\n"
    )
    async with ProcessDriver() as driver:
        mount = PathRule(host=str(place), inside="/shared", access=Access.WRITE)
        ran = await run_script(driver, script, tmp_path, mounts=[mount])
    assert ran.status == 0, ran.text
    assert (place / "tool").stat().st_mode & 0o777 == 0o755
