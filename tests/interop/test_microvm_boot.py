"""A real Linux on a real QEMU (TCG) starts from our archive and our kernel file, and its monitor is spoken to.

Needs `apt-get install qemu-system-x86` and `pip install microsandbox`, whose libkrunfw carries the kernel.
"""

import importlib.util
import shutil
import stat
import struct
from pathlib import Path
from subprocess import DEVNULL

import anyio
import pytest

from hive.core.errors import SandboxError
from hive.execution.microvm.archive import ArchiveEntry, newc_archive
from hive.execution.microvm.kernel_image import pvh_elf, read_krunfw
from hive.execution.microvm.monitor import open_monitor

pytestmark = [pytest.mark.peers, pytest.mark.anyio]
SAID = b"the guest is up\n"
BASE = 0x400000
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


def _qemu() -> str:
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        pytest.skip("qemu-system-x86_64 is missing: apt-get install qemu-system-x86")
    return program


def _krunfw() -> Path:
    found = importlib.util.find_spec("microsandbox")
    places = found.submodule_search_locations if found else None
    for place in places or ():
        for library in Path(place).glob("_bundled/lib/libkrunfw.so*"):
            return library
    pytest.skip("libkrunfw is missing: pip install microsandbox")


def _first_program() -> bytes:
    """Return a static program that writes SAID and asks Linux for a restart (write, reboot, stay)."""

    def code(text_at: int) -> bytes:
        write = b"\xbf\x01\0\0\0\xbe" + struct.pack("<I", text_at)
        write += b"\xba" + struct.pack("<I", len(SAID)) + b"\xb8\x01\0\0\0\x0f\x05"
        restart = b"\xbf\xad\xde\xe1\xfe\xbe\x69\x19\x12\x28\xba\x67\x45\x23\x01"
        return write + restart + b"\xb8\xa9\0\0\0\x0f\x05\xeb\xfe"

    body = code(BASE + 120 + len(code(0))) + SAID
    size = 120 + len(body)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", ident, 2, 62, 1, BASE + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 4096) + body


async def test_a_guest_starts_and_speaks(tmp_path: Path) -> None:
    program, library = _qemu(), _krunfw()
    kernel, first = tmp_path / "kernel.elf", tmp_path / "first.cpio"
    kernel.write_bytes(pvh_elf(read_krunfw(library)))
    first.write_bytes(
        newc_archive(
            [
                ArchiveEntry(path="dev", mode=stat.S_IFDIR | 0o755),
                ArchiveEntry(path="dev/console", mode=stat.S_IFCHR | 0o600, device=(5, 1)),
                ArchiveEntry(path="init", mode=stat.S_IFREG | 0o755, content=_first_program()),
            ]
        )
    )
    argv = [program, "-M", "microvm,acpi=off,isa-serial=off", "-accel", "tcg", "-cpu", "Nehalem"]
    argv += ["-m", "128", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
    argv += ["-sandbox", SANDBOX, "-kernel", str(kernel), "-initrd", str(first)]
    argv += ["-append", "console=hvc0 reboot=t panic=-1 quiet", "-chardev", "stdio,id=c"]
    argv += ["-device", "virtio-serial-device", "-device", "virtconsole,chardev=c"]
    with anyio.fail_after(60):
        done = await anyio.run_process(argv, stdin=DEVNULL)
    assert SAID.strip() in done.stdout.splitlines()


async def test_a_real_monitor_answers_and_refuses(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    argv = [_qemu(), "-M", "none", "-nodefaults", "-display", "none", "-S", "-daemonize"]
    argv += ["-qmp", f"unix:{path},server=on,wait=off"]
    await anyio.run_process(argv, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    async with open_monitor(path) as monitor:
        status = await monitor.order("query-status")
        assert isinstance(status, dict)
        assert status["running"] is False
        with pytest.raises(SandboxError, match="refuses no-such-order"):
            await monitor.order("no-such-order")
        await monitor.order("quit")
