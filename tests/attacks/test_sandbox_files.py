"""Attack: an agent reads or writes files outside its mounts."""

import os
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from hive.core.errors import TierUnavailableError
from hive.core.grant import Access, PathRule
from hive.execution.drivers.process import ProcessDriver
from hive.testing.sandbox_attacks import READ_FILES, TAKE_FOLDER, WRITE_FILE, run_outside
from hive.testing.sandbox_suite import make_opening, run_script

pytestmark = pytest.mark.anyio


async def inside(tmp_path, script, *arguments, without=(), mounts=()):
    async with ProcessDriver(without=without) as driver:
        run = await run_script(driver, script, tmp_path, arguments=arguments, mounts=mounts)
        assert run.status == 0, run.text
        return run.text


@pytest.mark.parametrize("way", READ_FILES)
async def test_a_file_outside_the_mounts_cannot_be_read(way, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("treasure")
    secret.chmod(0o644)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    assert "PASSED treasure" in run_outside(READ_FILES[way], str(secret))
    assert "REFUSED" in await inside(tmp_path, READ_FILES[way], str(secret))


async def test_an_agent_cannot_write_its_own_source(tmp_path):
    source = tmp_path / "agent.py"
    source.write_text("pass\n")
    read = PathRule(host=str(tmp_path), inside="/data/agent")
    write = PathRule(host=str(tmp_path), inside="/data/agent", access=Access.WRITE)
    inside_path = "/data/agent/agent.py"
    assert "PASSED" in await inside(tmp_path, WRITE_FILE, inside_path, mounts=[write])
    assert "REFUSED" in await inside(tmp_path, WRITE_FILE, inside_path, mounts=[read])


async def test_the_interpreter_that_the_next_sandbox_uses_cannot_be_poisoned(tmp_path):
    planted = Path(sys.prefix) / "lib" / "planted.pth"
    try:
        assert "PASSED" in run_outside(WRITE_FILE, str(planted))
    finally:
        planted.unlink()
    assert "REFUSED" in await inside(tmp_path, WRITE_FILE, str(planted))
    assert not planted.exists()


async def test_what_an_agent_leaves_at_home_is_gone_for_the_next(tmp_path):
    plant = "open('/home/agent/x.pth', 'w').write('import os'); open('/tmp/y', 'w').write('1'); "
    # Folders that are mounted below /tmp, such as the interpreter's, may show there as well.
    look = (
        "import os; left = {*os.listdir('/home/agent'), *os.listdir('/tmp')}; "
        "print(sorted(left & {'x.pth', 'y'}))"
    )
    assert "['x.pth', 'y']" in await inside(tmp_path, plant + look)
    assert await inside(tmp_path, look) == "[]"


@contextmanager
def an_accomplice_that_hands_out(folder, path):
    """Send a descriptor of a folder to whoever connects."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)
        path.chmod(0o777)

        def serve():
            near, _ = listener.accept()
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            with near:
                socket.send_fds(near, [b"x"], [fd])
            os.close(fd)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(5)


@pytest.mark.parametrize(
    ("without", "expected"), [((), "REFUSED"), (("landlock",), "PASSED treasure")]
)
async def test_a_folder_that_an_accomplice_passes_in_stays_closed(without, expected, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    (folder / "secret").write_text("treasure")
    gate = Path(make_opening(tmp_path).gate_directory)
    with an_accomplice_that_hands_out(folder, gate / "gate.sock"):
        told = await inside(tmp_path, TAKE_FOLDER, "/run/hive/gate.sock", without=without)
    assert expected in told


async def test_a_mount_point_behind_a_planted_link_is_refused(tmp_path):
    shared, elsewhere = tmp_path / "shared", tmp_path / "elsewhere"
    shared.mkdir()
    elsewhere.mkdir()
    (shared / "link").symlink_to(elsewhere)
    rules = [
        PathRule(host=str(shared), inside="/data", access=Access.WRITE),
        PathRule(host=str(elsewhere), inside="/data/link/deep"),
    ]
    with pytest.raises(TierUnavailableError, match="behind a link"):
        await inside(tmp_path, "", mounts=rules)
    assert not (elsewhere / "deep").exists()
