"""The parts of a virtual machine: its first files, its kernel file, its timed processor."""

import stat
import struct
from pathlib import Path

import pytest

from hive.core.errors import TierUnavailableError
from hive.execution.microvm.archive import ArchiveEntry, newc_archive
from hive.execution.microvm.kernel_image import FlatKernel, pvh_elf, pvh_entry, read_krunfw
from hive.execution.microvm.vcpu import EMULATED_FROM_MS, judge, probe_vcpu

NOTE = struct.pack("<III", 4, 8, 18) + b"Xen\0"
BASE = 0x1000000


def _kernel(*entries: int) -> FlatKernel:
    notes = b"".join(NOTE + struct.pack("<Q", entry) for entry in entries)
    return FlatKernel(address=BASE, content=bytes(64) + notes + bytes(64))


def _unpacked(data: bytes) -> list[tuple[str, int, bytes]]:
    """Return name, mode and content of each record, read as Linux's documentation of the form says."""
    found, at = [], 0
    while True:
        assert data[at : at + 6] == b"070701"
        numbers = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = data[at + 110 : at + 110 + numbers[11] - 1].decode()
        at = (at + 110 + numbers[11] + 3) & ~3
        if name == "TRAILER!!!":
            assert at == len(data)
            return found
        found.append((name, numbers[1], data[at : at + numbers[6]]))
        at = (at + numbers[6] + 3) & ~3


def test_an_archive_holds_what_was_put_in() -> None:
    entries = [
        ArchiveEntry(path="dev", mode=stat.S_IFDIR | 0o755),
        ArchiveEntry(path="init", mode=stat.S_IFREG | 0o755, content=b"12345"),
        ArchiveEntry(path="lib", mode=stat.S_IFLNK | 0o777, content=b"usr/lib"),
    ]
    archive = newc_archive(entries)
    assert _unpacked(archive) == [(one.path, one.mode, one.content) for one in entries]
    assert archive == newc_archive(entries)


@pytest.mark.parametrize("path", ["", "/etc", "../etc", "a/../b", "a//b", "a\0b", "TRAILER!!!"])
def test_an_archive_refuses_a_path_outside_its_root(path: str) -> None:
    with pytest.raises(ValueError, match="path below the root|reserved"):
        newc_archive([ArchiveEntry(path=path, mode=stat.S_IFREG | 0o600)])


def test_an_archive_refuses_a_second_file_of_one_name() -> None:
    entry = ArchiveEntry(path="init", mode=stat.S_IFREG | 0o755)
    with pytest.raises(ValueError, match="twice"):
        newc_archive([entry, entry])


def test_a_kernel_is_entered_where_its_note_says() -> None:
    kernel = _kernel(BASE + 16)
    elf = pvh_elf(kernel)
    load = struct.unpack_from("<IIQQQQQQ", elf, 64)
    note = struct.unpack_from("<IIQQQQQQ", elf, 120)
    assert (load[0], load[3], load[4]) == (1, BASE, BASE)
    assert elf[load[2] : load[2] + load[5]] == kernel.content
    assert note[0] == 4
    assert elf[note[2] : note[2] + note[5]] == NOTE + struct.pack("<Q", BASE + 16)


@pytest.mark.parametrize("entries", [(), (BASE - 1,), (BASE + 4096,), (BASE + 1, BASE + 2)])
def test_a_kernel_without_one_entry_inside_it_is_refused(entries: tuple[int, ...]) -> None:
    with pytest.raises(TierUnavailableError, match="PVH"):
        pvh_entry(_kernel(*entries))


def test_a_file_that_is_no_library_has_no_kernel(tmp_path: Path) -> None:
    file = tmp_path / "libkrunfw.so"
    file.write_bytes(b"\x7fELF cut short")
    with pytest.raises(TierUnavailableError, match=r"libkrunfw\.so"):
        read_krunfw(file)


def test_a_slow_processor_is_no_real_one() -> None:
    assert judge(5, 0.2).real
    assert not judge(5, EMULATED_FROM_MS + 1).real
    assert not judge(8, 0.2).real


def test_a_device_that_opens_is_no_proof() -> None:
    assert not probe_vcpu(Path("/dev/null")).real
    missing = probe_vcpu(Path("/dev/no-such-device"))
    assert not missing.real
    assert "no-such-device" in missing.reason


def test_this_machine_is_told_by_what_ran() -> None:
    found = probe_vcpu()
    assert found.reason
    if found.real:
        assert found.took_ms is not None
        assert found.took_ms <= EMULATED_FROM_MS
