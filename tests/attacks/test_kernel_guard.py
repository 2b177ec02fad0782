"""Ways to a forbidden file that a wall let through: the kernel's guard sees what was opened, not how it was named."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

import anyio
import pytest

from hive.core.errors import SandboxError, TierUnavailableError
from hive.core.grant import Access, Grant, Limits, PathRule
from hive.core.kernel_rules import KernelAct, KernelAnswer, KernelRule
from hive.execution.drivers.gvisor import GvisorDriver
from hive.execution.drivers.process import ProcessDriver
from hive.execution.enforcement import KernelGuards
from hive.execution.enforcement.ladder import described, take_step
from hive.testing.sandbox_suite import SMALL, WAIT_S, make_opening, make_turn, prepare_agent
from tests.gvisor_rig import gvisor_runs, needs_gvisor

__all__ = ["gvisor_runs"]

pytestmark = pytest.mark.anyio
SECRET = "the secret of the house"
AGENT = '''
import ctypes, mmap, os, socket, subprocess, threading

def answer(way):
    name, _, rest = way.partition(" ")
    return globals()[name](*rest.split())

def read(path):
    with open(path) as file:
        return file.read()

def relative(_path):
    os.chdir("/data")
    return read("x/../../data/./kept/secret")

def linked(_path):
    os.symlink("/data/kept/secret", "/tmp/link")
    os.symlink("/tmp/link", "/tmp/further")
    return read("/tmp/further")

def hard(_path):
    return read("/data/hard")

def renamed(_path):
    stop = []
    def swap():
        while not stop:
            for name in ("/data/plain", "/data/kept/secret"):
                try:
                    os.unlink("/tmp/race")
                except FileNotFoundError:
                    pass
                os.symlink(name, "/tmp/race")
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(400_000):
            try:
                text = read("/tmp/race")
            except FileNotFoundError:
                continue
            if "secret" in text:
                return text
        return "never met it"
    finally:
        stop.append(1)

def descriptor(_path):
    handle = os.open("/data/kept/secret", os.O_PATH)
    return read(f"/proc/self/fd/{handle}")

def unread_page(_path):
    """Hand the kernel a name that lies in a page which was never touched."""
    with open("/tmp/name", "wb") as file:
        file.write(b"/data/kept/secret\\0")
    with open("/tmp/name", "rb") as file:
        page = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
    libc = ctypes.CDLL(None, use_errno=True)
    pymem = (ctypes.c_char * 0).from_address
    address = ctypes.c_void_p()
    size = ctypes.c_ssize_t()
    view = ctypes.py_object(page)
    raw = (ctypes.c_byte * 128)()
    ctypes.pythonapi.PyObject_GetBuffer(view, raw, 0)
    address = ctypes.cast(raw, ctypes.POINTER(ctypes.c_void_p))[0]
    handle = libc.open(ctypes.c_void_p(address), os.O_RDONLY)
    return os.read(handle, 100).decode() if handle >= 0 else f"errno {ctypes.get_errno()}"

def truncated(_path):
    os.open("/data/kept/secret", os.O_WRONLY | os.O_TRUNC)
    return "opened"

def ring(_path):
    libc = ctypes.CDLL(None, use_errno=True)
    return f"{libc.syscall(425, 8, ctypes.create_string_buffer(120))} errno {ctypes.get_errno()}"

def raw(_path):
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
    except OSError as error:
        return f"errno {error.errno}"
    return "made"

def run(path):
    os.execv(path, [path])

def cat(path):
    done = subprocess.run(["/bin/cat", path], capture_output=True)
    return f"killed {done.returncode}" if done.returncode < 0 else done.stdout.decode()
'''
WAYS = ("read /data/kept/secret", "relative x", "linked x", "hard x", "renamed x", "descriptor x", "unread_page x")  # fmt: skip


@pytest.fixture
def events():
    return []


@pytest.fixture(scope="module")
def enforcer():
    """The strongest enforcer of this machine."""
    held, steps = take_step("auto")
    if held is None:
        pytest.skip(described(steps))
    with contextlib.closing(_Leaving(held)):
        yield held


class _Leaving:
    def __init__(self, held):
        self.close = held.__exit__


@pytest.fixture
def data(tmp_path):
    place = tmp_path / "data"
    (place / "kept").mkdir(parents=True)
    (place / "x").mkdir()
    (place / "kept" / "secret").write_text(SECRET)
    (place / "plain").write_text("nothing")
    os.link(place / "kept" / "secret", place / "hard")
    return place


@contextlib.asynccontextmanager
async def sandbox_with(tmp_path, data, rules, enforcer, events=None):
    async with ProcessDriver() as driver:
        if enforcer is not None:
            driver.guarding = KernelGuards(enforcer, met=events.append)
        path = PathRule(host=str(data), inside="/data", access=Access.WRITE)
        grant = Grant(paths=(path,), kernel=tuple(rules), limits=SMALL)
        prepared = prepare_agent(tmp_path, AGENT)
        async with driver.spawn(prepared, grant, make_opening(tmp_path)) as sandbox:
            await sandbox.ready(WAIT_S)
            yield sandbox


async def told_by(sandbox, way):
    """Return what an agent told, or that it is dead."""
    with anyio.fail_after(30):
        try:
            events = [event async for event in sandbox.run_turn(make_turn(way))]
        except SandboxError:
            await sandbox.wait_dead()
            return "killed"
    last = events[-1]
    message = getattr(last, "message", None)
    return getattr(last, "error", "") if message is None else message.parts[0].text


def forbid(path="/data/kept/secret", act=KernelAct.OPEN, **more):
    return KernelRule(name="keep the secret", act=act, path=path, **more)


async def evidence(events, count=1):
    with anyio.fail_after(5):
        while True:
            if len(events) >= count:
                return events
            await anyio.sleep(0.005)


@pytest.mark.parametrize("way", WAYS)
async def test_without_the_guard_each_way_leads_to_the_file(tmp_path, data, way):
    async with sandbox_with(tmp_path, data, (), None) as sandbox:
        assert SECRET in await told_by(sandbox, way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "rule", [forbid(), forbid("/data/kept", below=True)], ids=["file", "folder"]
)
async def test_no_way_leads_past_the_guard(tmp_path, data, enforcer, events, way, rule):
    if way.startswith("hard") and rule.below:
        pytest.skip("a hard link outside the folder is another name outside it: name the file")
    async with sandbox_with(tmp_path, data, (rule,), enforcer, events) as sandbox:
        assert await told_by(sandbox, way) == "killed"
    (event, *_) = await evidence(events)
    assert (event.rule, event.act, event.answer) == (
        "keep the secret",
        KernelAct.OPEN,
        KernelAnswer.KILL,
    )
    assert sandbox.refused.startswith("The kernel refused what it did: rule 'keep the secret'")
    assert event.taken_us < 1000


async def test_without_the_guard_a_file_is_emptied_by_opening_it(tmp_path, data):
    async with sandbox_with(tmp_path, data, (), None) as sandbox:
        assert await told_by(sandbox, "truncated x") == "opened"
    assert (data / "kept" / "secret").read_text() == ""


@pytest.mark.parametrize("path", ["/data/kept/secret", "/data/kept"], ids=["file", "folder"])
async def test_a_file_that_is_kept_is_not_emptied(tmp_path, data, enforcer, events, path):
    """A kill comes after the open, and the open empties: the mount under it refuses before."""
    rule = forbid(path, below=path.endswith("kept"))
    async with sandbox_with(tmp_path, data, (rule,), enforcer, events) as sandbox:
        assert "Read-only" in await told_by(sandbox, "truncated x")
    assert (data / "kept" / "secret").read_text() == SECRET


async def test_no_ring_and_no_raw_socket(tmp_path, data, enforcer, events):
    async with sandbox_with(tmp_path, data, (), enforcer, events) as sandbox:
        assert await told_by(sandbox, "ring x") == "-1 errno 1"
        assert await told_by(sandbox, "raw x") == "errno 1"


async def test_a_folder_mounted_below_is_kept_too(tmp_path, data, enforcer, events):
    """The way up from a file ends at the root of its mount: a bind in a kept folder is part of it."""
    async with sandbox_with(
        tmp_path, data, (forbid("/", below=True, programs=("/bin/cat",)),), enforcer, events
    ) as sandbox:
        assert "killed" in await told_by(sandbox, "cat /data/plain")
    assert events[0].program == "cat"


async def test_a_rule_for_one_program_leaves_others_alone(tmp_path, data, enforcer, events):
    rule = forbid("/data/plain", programs=("/bin/cat",))
    async with sandbox_with(tmp_path, data, (rule,), enforcer, events) as sandbox:
        assert await told_by(sandbox, "read /data/plain") == "nothing"
        assert "killed" in await told_by(sandbox, "cat /data/plain")


async def test_what_is_only_told_goes_on(tmp_path, data, enforcer, events):
    rule = forbid("/data/plain", answer=KernelAnswer.REPORT)
    async with sandbox_with(tmp_path, data, (rule,), enforcer, events) as sandbox:
        assert await told_by(sandbox, "read /data/plain") == "nothing"
        await evidence(events)
        assert sandbox.refused == ""


async def test_rules_change_under_a_living_sandbox_without_a_gap(tmp_path, data, enforcer, events):
    more = []
    async with ProcessDriver() as driver:
        guards = KernelGuards(enforcer, met=events.append, rules_of=lambda _agent: more)
        driver.guarding = guards
        path = PathRule(host=str(data), inside="/data", access=Access.WRITE)
        prepared = prepare_agent(tmp_path, AGENT)
        opened = driver.spawn(prepared, Grant(paths=(path,), limits=SMALL), make_opening(tmp_path))
        async with opened as sandbox:
            await sandbox.ready(WAIT_S)
            assert await told_by(sandbox, "read /data/plain") == "nothing"
            more.append(forbid("/data/plain"))
            guards.changed()
            assert await told_by(sandbox, "read /data/plain") == "killed"


async def test_a_guard_that_cannot_stand_lets_nothing_start(tmp_path, data, enforcer, events):
    rules = [
        forbid("/data/plain", answer=KernelAnswer.KILL, programs=(f"/bin/{n}",)) for n in range(9)
    ]
    with pytest.raises(SandboxError, match="did not start"):
        async with sandbox_with(tmp_path, data, rules, enforcer, events):
            pass


async def test_rules_without_an_enforcer_let_nothing_start(tmp_path, data):
    async with ProcessDriver() as driver:
        driver.guarding = KernelGuards(None, missing="bpf: not here")
        grant = Grant(kernel=(forbid(),), limits=SMALL)
        with pytest.raises(TierUnavailableError, match="cannot stand here"):
            async with driver.spawn(prepare_agent(tmp_path, AGENT), grant, make_opening(tmp_path)):
                pass


async def test_neighbours_are_left_alone(tmp_path, data, enforcer, events):
    """Another sandbox, and the node itself, open the same file."""
    async with sandbox_with(tmp_path, data, (forbid(),), enforcer, events) as guarded:
        other = tmp_path / "other"
        other.mkdir()
        async with sandbox_with(other, data, (), enforcer, events) as neighbour:
            assert SECRET in await told_by(neighbour, "read /data/kept/secret")
        assert (data / "kept" / "secret").read_text() == SECRET
        assert await told_by(guarded, "read /data/kept/secret") == "killed"


def test_the_node_dies_and_the_rules_go_with_it(tmp_path, data):
    """Nothing of a node that was killed stays in the kernel."""
    script = (
        "import sys, time; from hive.execution.enforcement.ladder import described, take_step;"
        "held = take_step('auto')[0]; print('up', flush=True); time.sleep(60)"
    )
    before = programs()
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"up\n"
        assert len(programs()) > len(before)
        child.kill()
    until = time.monotonic() + 10
    while len(programs()) > len(before):
        assert time.monotonic() < until
        time.sleep(0.05)


def programs():
    """The ids of our programs that are in the kernel."""
    shown = shutil.which("bpftool")
    if shown is None:
        pytest.skip("bpftool is not installed (Debian: bpftool)")
    listed = json.loads(subprocess.run([shown, "-j", "prog", "show"], capture_output=True).stdout)
    return {one["id"] for one in listed if one.get("name") in ("after_open", "before_open")}


async def test_one_sandbox_after_the_other_is_guarded(tmp_path, data, enforcer, events):
    """The kernel still buries the processes of the last one while the next begins."""
    path = PathRule(host=str(data), inside="/data")
    async with ProcessDriver() as driver:
        driver.guarding = KernelGuards(
            enforcer, met=events.append, rules_of=lambda _agent: (forbid("/data/plain"),)
        )
        for number in range(40):
            opening = make_opening(tmp_path, sandbox_id=f"next-{number}")
            async with driver.open(
                ["/bin/cat", "/data/plain"],
                mounts=[path],
                opening=opening,
                limits=SMALL,
                on_line=lambda _line: None,
            ) as streams:
                with pytest.raises(anyio.EndOfStream):
                    raise AssertionError(await streams.receive())
                assert {wall.name for wall in streams.walls if not wall.stands} == set()
    await evidence(events, 40)


async def test_a_process_outside_its_group_is_not_taken_for_guarded(enforcer, tmp_path):
    with pytest.raises(SandboxError, match="cannot be guarded"):
        enforcer.guard("outside", str(tmp_path), os.getpid(), (forbid(),))


@needs_gvisor
async def test_what_gvisor_opens_for_an_agent_is_guarded_too(tmp_path, data, enforcer, events):
    """The same denial where the agent has a kernel of its own: that one opens the file for it."""
    path = PathRule(host=str(data), inside="/data", access=Access.WRITE)
    grant = Grant(paths=(path,), kernel=(forbid(),), limits=Limits())
    async with GvisorDriver() as driver:
        driver.guarding = KernelGuards(enforcer, met=events.append)
        prepared = prepare_agent(tmp_path, AGENT)
        async with driver.spawn(prepared, grant, make_opening(tmp_path)) as sandbox:
            await sandbox.ready(WAIT_S)
            assert await told_by(sandbox, "read /data/plain") == "nothing"
            assert await told_by(sandbox, "linked x") == "killed"
            assert "keep the secret" in sandbox.refused
    assert events[0].rule == "keep the secret"
