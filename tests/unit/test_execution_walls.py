"""The parts of the walls that need no kernel: the filter's program, plans, lines, mount rules."""

import errno
import struct
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive.core.errors import SandboxError
from hive.core.grant import PathRule
from hive.execution.drivers.process import interpreter_reads
from hive.execution.drivers.process_mounts import granted_mounts
from hive.execution.launcher_logs import BURST_LINES, LINE_MAX_CHARS, PrintedLines
from hive.execution.walls import kernel, seccomp
from hive.execution.walls.plan import MountPlan, SandboxPlan, SizePlan, read_plan

MACHINES = (kernel.X86_64, kernel.AARCH64)
WORDS = {kernel.X86_64: 0xC000003E, kernel.AARCH64: 0xC00000B7}
SOCKET = {kernel.X86_64: 41, kernel.AARCH64: 198}
CLONE = {kernel.X86_64: 56, kernel.AARCH64: 220}
IOCTL = {kernel.X86_64: 16, kernel.AARCH64: 29}
PERSONALITY = {kernel.X86_64: 135, kernel.AARCH64: 92}
READ = {kernel.X86_64: 0, kernel.AARCH64: 63}
DENIED = seccomp.refuse(errno.EPERM)


def record(machine, number, *arguments):
    padded = [*arguments, *[0] * (6 - len(arguments))]
    return struct.pack("=IIQ6Q", number, WORDS[machine], 0, *padded)


def ask(machine, number, *arguments):
    program = seccomp.agent_program(machine)
    return seccomp.run(program, record(machine, number, *arguments))


@pytest.mark.parametrize("machine", MACHINES)
def test_forbidden_calls_are_refused_and_ordinary_ones_pass(machine):
    for number in seccomp.forbidden_numbers(machine).values():
        assert ask(machine, number) == DENIED
    assert ask(machine, READ[machine]) == seccomp.ALLOW
    assert ask(machine, 435) == seccomp.refuse(errno.ENOSYS)


@pytest.mark.parametrize("machine", MACHINES)
@given(number=st.integers(0, 0xFFFFFFFF))
def test_calls_newer_than_the_table_do_not_exist(machine, number):
    answer = ask(machine, number)
    if number > seccomp.KNOWN_MAX:
        assert answer == seccomp.refuse(errno.ENOSYS)
    else:
        assert answer in (seccomp.ALLOW, DENIED) or number in (435, 437, SOCKET[machine])


@pytest.mark.parametrize("machine", MACHINES)
def test_another_architecture_is_killed(machine):
    program = seccomp.agent_program(machine)
    foreign = struct.pack("=IIQ6Q", READ[machine], 0x40000003, 0, *[0] * 6)
    assert seccomp.run(program, foreign) == seccomp.KILL


def test_the_second_numbering_of_x86_64_does_not_exist():
    assert ask(kernel.X86_64, 0x40000000) == seccomp.refuse(errno.ENOSYS)


@pytest.mark.parametrize("machine", MACHINES)
@given(family=st.integers(0, 64), kind=st.integers(0, 12), protocol=st.integers(0, 300))
def test_only_local_and_plain_internet_sockets_pass(machine, family, kind, protocol):
    flags = 0o2004000
    passes = family in (1, 2, 10) and kind in (1, 2, 5) and protocol in (0, 6, 17)
    answer = ask(machine, SOCKET[machine], family, kind | flags, protocol)
    assert (answer == seccomp.ALLOW) == passes


@pytest.mark.parametrize("machine", MACHINES)
def test_arguments_decide_where_a_call_has_a_harmless_use(machine):
    assert ask(machine, CLONE[machine], 0x11) == seccomp.ALLOW
    assert ask(machine, CLONE[machine], 0x3D0F00) == seccomp.ALLOW
    for flag in (
        0x00020000,
        0x02000000,
        0x04000000,
        0x08000000,
        0x10000000,
        0x20000000,
        0x40000000,
    ):
        assert ask(machine, CLONE[machine], flag | 0x11) == DENIED
    assert ask(machine, IOCTL[machine], 0, 0x5401) == seccomp.ALLOW
    assert ask(machine, IOCTL[machine], 0, 0x5412) == DENIED
    assert ask(machine, IOCTL[machine], 0, 0xFFFFFFFF00005412) == DENIED
    assert ask(machine, PERSONALITY[machine], 0xFFFFFFFF) == seccomp.ALLOW
    assert ask(machine, PERSONALITY[machine], 0x0400000) == DENIED


def test_a_jump_that_is_too_long_is_not_assembled():
    with pytest.raises(ValueError, match="255"):
        seccomp.when_equal(1, [seccomp.answer(seccomp.ALLOW)] * 256)


def test_a_machine_without_a_table_has_no_filter():
    with pytest.raises(OSError, match="riscv64"):
        seccomp.agent_program("riscv64")


def test_a_plan_survives_its_crossing():
    plan = SandboxPlan(
        name="n", argv=("/bin/true", "x"), environment={"A": "ü"},
        mounts=(MountPlan("/a", "/b", writable=True, ours=True),), routes={4100: "/run/x"},
        sizes=SizePlan(1, 2, 3, 4, 5), demanded=("seccomp",), without=("cgroup",),
    )  # fmt: skip
    assert read_plan(plan.encode()) == plan


@pytest.mark.parametrize(
    "inside",
    ["/", "/usr", "/proc/sys", "/dev", "/etc/ssl", "/run/hive", "/run/hive/x", "/data/../etc",
     "relative", "/home/agent", "//x", "/outbox"],
)  # fmt: skip
def test_a_grant_cannot_hide_a_part_of_the_sandbox(inside):
    with pytest.raises(SandboxError, match="belongs to the sandbox"):
        granted_mounts([PathRule(host="/srv", inside=inside)])


def test_a_grant_appears_where_it_says():
    assert granted_mounts([PathRule(host="/srv", inside="/data/x/")]) == [
        MountPlan("/srv", "/data/x")
    ]


def test_an_interpreter_needs_its_environment_and_what_its_links_lead_to(tmp_path):
    real, environment = tmp_path / "real" / "bin", tmp_path / "env" / "bin"
    for folder in (real, environment):
        folder.mkdir(parents=True)
    (real / "python3").touch()
    (environment / "python3").symlink_to(real / "python3")
    (environment / "python").symlink_to("python3")
    found = interpreter_reads(str(environment / "python"))
    assert found == (str(environment.parent), str(real.parent))
    assert interpreter_reads("/usr/bin/env") == ()
    assert interpreter_reads("/bin/sh") == ()


class _StoppedClock:
    """Time that moves when it is told to."""

    def __init__(self):
        self.seconds = 0.0

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self):
        return self.seconds


def test_lines_are_cut_stripped_and_joined_over_reads():
    seen = []
    lines = PrintedLines(clock=_StoppedClock(), on_line=seen.append)
    lines.feed(b"a\x1b[31mb\r\nc")
    lines.feed(b"d\n" + "\u202eé".encode() + b"\n" + b"x" * (LINE_MAX_CHARS + 1))
    lines.finish()
    assert seen[:3] == ["ab", "cd", "é"]
    assert len(seen[3]) == LINE_MAX_CHARS


def test_too_many_lines_are_dropped_and_counted():
    seen, clock = [], _StoppedClock()
    lines = PrintedLines(clock=clock, on_line=seen.append)
    lines.feed(b"x\n" * (BURST_LINES + 50))
    assert len(seen) == BURST_LINES
    clock.seconds = 1.0
    lines.feed(b"y\n")
    assert seen[-2].startswith("(50 lines were dropped")
    assert seen[-1] == "y"


def test_the_launcher_imports_nothing_beside_the_standard_library_and_the_walls():
    code = (
        "import sys; before = set(sys.modules); import hive.execution.launcher; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    foreign = set(found.stdout.split()) - set(sys.stdlib_module_names) - {"hive", "hive_guest"}
    assert foreign == set()
