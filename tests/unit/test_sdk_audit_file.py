"""The record on disk: written, continued, repaired, rotated, and refusing when it cannot be written."""

import errno
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from hive_a2a.crypto import new_signing_pair
from hive_a2a.ports import Stage
from hive_a2a.stages.audit import (
    AuditError,
    AuditKind,
    AuditUnavailableError,
    CallRecord,
    MemoryAudit,
    cut,
    feed,
)
from hive_a2a.stages.audit_batch import AuditLimits, WaitingBatch, WriterBell
from hive_a2a.stages.audit_chain import files_of, lines_of, read_line
from hive_a2a.stages.audit_disk import LogFile
from hive_a2a.stages.audit_file import FileAudit
from hive_a2a.stages.audit_verify import verify
from tests.stages_rig import a_call

pytestmark = pytest.mark.anyio
KEY = new_signing_pair()
ZEROS = b'{"n":1}\t' + b"0" * 64 + b"\n"
QUICK = AuditLimits(head_every_entries=10, rotate_bytes=4000, disk_floor_bytes=0)


def attempt(number: int = 0, **more) -> CallRecord:
    return CallRecord(kind=AuditKind.ATTEMPT, call=f"c-{number}", **more)


def outcome(number: int = 0) -> CallRecord:
    return CallRecord(kind=AuditKind.OUTCOME, call=f"c-{number}", ending="completed")


def records(folder: Path) -> list[CallRecord]:
    return [
        read_line(line).entry.record
        for path in files_of(folder)
        for _, line, ended in lines_of(path)
        if ended
    ]


async def fill(folder: Path, count: int, **more) -> None:
    given = {"limits": QUICK} | more
    async with FileAudit(folder, KEY.private, **given) as audit:
        for number in range(count):
            await audit.attempt(attempt(number))
            audit.outcome(outcome(number))


class WatchedAudit(FileAudit):
    """Says when its writer has gone round once more."""

    def __init__(self, *given, **more) -> None:
        super().__init__(*given, **more)
        self.rounds = threading.Semaphore(0)

    def _sign_when_due(self, *, closing):
        super()._sign_when_due(closing=closing)
        self.rounds.release()

    def _look_at_room(self):
        super()._look_at_room()
        self.rounds.release()


async def until(audit: WatchedAudit, true) -> None:
    while not true():
        assert await anyio.to_thread.run_sync(lambda: audit.rounds.acquire(timeout=10))


@pytest.mark.parametrize("fsync", ["each", "batch", "off"])
async def test_what_is_written_verifies_and_is_continued(tmp_path, fsync):
    await fill(tmp_path / "a", 30, fsync=fsync)
    first = verify(tmp_path / "a", KEY.public)
    assert first.whole
    assert first.entries > 60
    assert first.unsigned == 0
    await fill(tmp_path / "a", 5, fsync=fsync)
    second = verify(tmp_path / "a", KEY.public, known=first.head)
    assert second.whole
    assert second.chain == first.chain
    assert second.entries > first.entries
    assert len(files_of(tmp_path / "a")) > 2, "it rotated"
    assert [one.call for one in records(tmp_path / "a") if one.kind == "attempt"] == [
        f"c-{number}" for number in [*range(30), *range(5)]
    ]


async def test_an_attempt_is_on_the_disk_before_it_returns(tmp_path):
    async with WatchedAudit(tmp_path, KEY.private) as audit:
        await audit.attempt(attempt(7))
        assert [one.call for one in records(tmp_path)] == ["", "c-7"]
        await until(audit, lambda: (tmp_path / "heads").stat().st_size > 0)
        assert (tmp_path / "heads").stat().st_mode & 0o077 == 0


async def test_many_callers_share_one_write(tmp_path):
    writes = []

    class CountingLog(LogFile):
        def write(self, data):
            writes.append(bytes(data))
            return super().write(data)

    async with (
        FileAudit(
            tmp_path, KEY.private, open_log=lambda path, synced: CountingLog(path, synced=synced)
        ) as audit,
        anyio.create_task_group() as tasks,
    ):
        for number in range(200):
            tasks.start_soon(audit.attempt, attempt(number))
    assert verify(tmp_path, KEY.public).entries == 201
    assert len(writes) < 50


async def test_a_killed_server_loses_no_attempt_that_returned(tmp_path):
    program = (
        "import sys, anyio, pathlib\n"
        "from hive_a2a.stages.audit import CallRecord\n"
        "from hive_a2a.stages.audit_file import FileAudit\n"
        "async def main():\n"
        "    audit = FileAudit(pathlib.Path(sys.argv[1]), bytes.fromhex(sys.argv[2]))\n"
        "    audit.open()\n"
        "    n = 0\n"
        "    while True:\n"
        "        await audit.attempt(CallRecord(kind='attempt', call=str(n)))\n"
        "        print(n, flush=True)\n"
        "        n += 1\n"
        "anyio.run(main)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path), KEY.private.hex()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            lines = [child.stdout.readline() for _ in range(50)]
        finally:
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read()
    told = [int(line) for line in "".join([*lines, rest]).split("\n")[:-1]]
    async with FileAudit(tmp_path, KEY.private):
        pass
    assert verify(tmp_path, KEY.public).whole
    kept = {int(one.call) for one in records(tmp_path) if one.kind == "attempt"}
    assert kept >= set(told)


@pytest.mark.parametrize("tail", [b"half an ent", b'{"n":1}\tzz\n', b"\0" * 500, b"x\n{}\n", ZEROS])
async def test_a_torn_end_is_cut_and_an_entry_says_how_much(tmp_path, tail):
    await fill(tmp_path, 3)
    last = files_of(tmp_path)[-1]
    last.write_bytes(last.read_bytes() + tail)
    (tmp_path / "heads").write_bytes((tmp_path / "heads").read_bytes() + b'{"chain":')
    assert not verify(tmp_path, KEY.public).whole
    await fill(tmp_path, 1)
    assert verify(tmp_path, KEY.public).whole
    repaired = [one for one in records(tmp_path) if one.kind == AuditKind.REPAIRED]
    assert repaired[0].counts == {"lost_bytes": len(tail)}


async def test_a_last_entry_without_its_end_or_out_of_its_place_is_cut(tmp_path):
    for name in ("unended", "twice"):
        await fill(tmp_path / name, 3)
        (tmp_path / name / "heads").unlink()
        last = files_of(tmp_path / name)[-1]
        good = last.read_bytes()
        again = good.splitlines(keepends=True)[-1]
        last.write_bytes(good[:-1] if name == "unended" else good + again)
        await fill(tmp_path / name, 1)
        assert verify(tmp_path / name, KEY.public).whole
        (repaired,) = [one for one in records(tmp_path / name) if one.kind == AuditKind.REPAIRED]
        assert repaired.counts == {"lost_bytes": len(again) - (name == "unended")}


async def test_heads_that_are_none_are_an_error_not_a_crash(tmp_path):
    await fill(tmp_path, 3)
    with (tmp_path / "heads").open("ab") as heads:
        heads.write(b'{"n":1}\t' + b"0" * 128 + b"\n")
    assert "not one" in verify(tmp_path, KEY.public).problem
    with pytest.raises(AuditError, match="cannot be continued"):
        FileAudit(tmp_path, KEY.private).open()


async def test_a_disk_that_is_full_from_the_start_takes_nothing(tmp_path):
    def no_files(path, synced):
        if path.suffix == ".audit":
            raise OSError(errno.ENOSPC, "full")
        return LogFile(path, synced=synced)

    with anyio.fail_after(10):
        async with FileAudit(tmp_path, KEY.private, open_log=no_files) as audit:
            with pytest.raises(AuditUnavailableError):
                await audit.attempt(attempt())


@pytest.mark.parametrize("begun", [b"", b'{"n":'])
async def test_a_crash_while_a_file_was_begun_is_mended(tmp_path, begun):
    await fill(tmp_path / "a", 2)
    count = verify(tmp_path / "a", KEY.public).entries
    (tmp_path / "a" / f"{count + 1:016d}.audit").write_bytes(begun)
    await fill(tmp_path / "a", 2)
    assert verify(tmp_path / "a", KEY.public).whole
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / f"{1:016d}.audit").write_bytes(begun)
    await fill(tmp_path / "b", 2)
    assert verify(tmp_path / "b", KEY.public).whole
    assert list((tmp_path / "b").glob("*.torn"))


async def test_a_record_that_lost_signed_entries_is_not_continued(tmp_path):
    await fill(tmp_path / "a", 40)
    for name, deed in (
        ("cut", lambda files: files[-1].unlink()),
        ("emptied", lambda files: [path.unlink() for path in files]),
        ("blanked", lambda files: [path.unlink() for path in files[1:]] + [files[0].write_bytes(b"x")]),
    ):  # fmt: skip
        shutil.copytree(tmp_path / "a", tmp_path / name)
        deed(files_of(tmp_path / name))
        with pytest.raises(AuditError, match="cannot be continued"):
            FileAudit(tmp_path / name, KEY.private).open()


async def test_a_record_of_another_key_is_not_continued(tmp_path):
    await fill(tmp_path, 3)
    other = FileAudit(tmp_path, new_signing_pair().private)
    with pytest.raises(AuditError, match="cannot be continued"):
        other.open()
    (tmp_path / "heads").unlink()
    with pytest.raises(AuditError, match="cannot be continued"):
        other.open()
    await fill(tmp_path, 3)
    assert verify(tmp_path, KEY.public).whole


async def test_a_folder_belongs_to_one_process(tmp_path):
    async with FileAudit(tmp_path, KEY.private):
        with pytest.raises(AuditError, match="in use"):
            FileAudit(tmp_path, KEY.private).open()
    with FileAudit(tmp_path, KEY.private) as audit:
        assert audit.takes_attempts
        assert audit.public_key == KEY.public


async def test_before_it_is_open_and_after_it_is_closed_it_takes_nothing(tmp_path):
    audit = FileAudit(tmp_path, KEY.private)
    with pytest.raises(AuditUnavailableError):
        await audit.attempt(attempt())
    audit.close()
    audit.open()
    audit.close()
    with pytest.raises(AuditUnavailableError):
        await audit.attempt(attempt())
    audit.outcome(outcome())


class ADisk:
    """A disk that can be filled and emptied: opens files that fail while it is full."""

    def __init__(self) -> None:
        self.full = False
        self.half = False
        self.room = 1 << 40
        self.tried = threading.Event()

    def __call__(self, path: Path, synced: bool) -> LogFile:
        disk = self

        class FillingLog(LogFile):
            def write(self, data):
                if disk.full and path.name != "heads":
                    disk.tried.set()
                    if disk.half:
                        disk.half = False
                        return super().write(data[: len(data) // 2])
                    raise OSError(errno.ENOSPC, "full")
                return super().write(data)

            def free_bytes(self):
                return disk.room

        return FillingLog(path, synced=synced)


async def test_a_full_disk_refuses_calls_and_keeps_outcomes_until_there_is_room(tmp_path):
    disk = ADisk()
    async with WatchedAudit(tmp_path, KEY.private, open_log=disk) as audit:
        await audit.attempt(attempt(1))
        disk.full = disk.half = True
        with pytest.raises(AuditUnavailableError):
            await audit.attempt(attempt(2))
        assert not audit.takes_attempts
        with pytest.raises(AuditUnavailableError):
            await audit.attempt(attempt(3))
        audit.outcome(outcome(1))
        audit.refusal(CallRecord(kind=AuditKind.REFUSED, scheme="bearer", stage="rate"))
        disk.full = False
        await until(audit, lambda: audit.takes_attempts)
        await audit.attempt(attempt(4))
    assert verify(tmp_path, KEY.public).whole
    calls = [(one.kind, one.call) for one in records(tmp_path)]
    assert calls[:5] == [
        ("opened", ""),
        ("attempt", "c-1"),
        ("attempt", "c-2"),
        ("outcome", "c-1"),
        ("attempt", "c-4"),
    ]
    assert records(tmp_path)[-1].counts == {"rate:call": 1}


async def test_what_is_kept_for_a_full_disk_is_bounded(tmp_path):
    disk = ADisk()
    limits = AuditLimits(held_max=5)
    async with FileAudit(tmp_path, KEY.private, open_log=disk, limits=limits) as audit:
        disk.full = True
        with pytest.raises(AuditUnavailableError):
            await audit.attempt(attempt())
        for number in range(20):
            audit.outcome(outcome(number))
        disk.full = False
    kept = records(tmp_path)
    assert sum(one.kind == "outcome" for one in kept) <= 5
    assert kept[-1].counts["lost:completed"] >= 15
    assert verify(tmp_path, KEY.public).whole


async def test_closing_on_a_full_disk_ends_and_leaves_a_record_that_goes_on(tmp_path):
    disk = ADisk()
    with anyio.fail_after(10):
        async with FileAudit(tmp_path, KEY.private, open_log=disk) as audit:
            await audit.attempt(attempt(1))
            disk.full = True
            with pytest.raises(AuditUnavailableError):
                await audit.attempt(attempt(2))
    disk.full = False
    assert verify(tmp_path, KEY.public).whole
    await fill(tmp_path, 1)
    assert verify(tmp_path, KEY.public).whole


async def test_below_the_floor_new_calls_are_refused_and_outcomes_still_written(tmp_path):
    disk = ADisk()
    disk.room = 1000
    limits = AuditLimits(disk_floor_bytes=2000)
    async with WatchedAudit(tmp_path, KEY.private, open_log=disk, limits=limits) as audit:
        await until(audit, lambda: not audit.takes_attempts)
        audit.outcome(outcome(1))
        disk.room = 1 << 30
        await until(audit, lambda: audit.takes_attempts)
        await audit.attempt(attempt(2))
    assert [one.kind for one in records(tmp_path)] == ["opened", "outcome", "attempt"]


async def test_a_head_that_cannot_be_written_is_tried_again(tmp_path):
    class NoHeads(ADisk):
        def __call__(self, path, synced):
            disk = self

            class HeadlessLog(LogFile):
                def write(self, data):
                    if path.name == "heads" and disk.full:
                        raise OSError(errno.EIO, "broken")
                    return super().write(data)

            return HeadlessLog(path, synced=synced)

    disk = NoHeads()
    disk.full = True
    async with FileAudit(tmp_path, KEY.private, open_log=disk) as audit:
        await audit.attempt(attempt(1))
        assert not verify(tmp_path, KEY.public).whole
        disk.full = False
    assert verify(tmp_path, KEY.public).whole


async def test_a_folder_that_cannot_be_opened_is_let_go(tmp_path):
    def broken(path, synced):
        raise OSError(errno.EACCES, "no")

    with pytest.raises(OSError, match="no"):
        FileAudit(tmp_path, KEY.private, open_log=broken).open()
    await fill(tmp_path, 1)


async def test_a_file_that_cannot_be_mended_now_is_mended_before_the_next_write(tmp_path):
    class StuckLog(LogFile):
        stuck = True

        def write(self, data):
            if self.stuck:
                super().write(data[:3])
                raise OSError(errno.ENOSPC, "full")
            return super().write(data)

        def _mend(self):
            if self.stuck:
                raise OSError(errno.EIO, "cannot cut")
            super()._mend()

    log = StuckLog(tmp_path / "log", synced=False)
    with pytest.raises(OSError, match="cannot cut"):
        log.append(b"abcdef")
    log.stuck = False
    log.append(b"ghi")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"ghi"


async def test_floods_of_refusals_are_summed_up(tmp_path):
    limits = AuditLimits(refusals_burst=3, refusals_per_s=0.001)
    refused = CallRecord(kind=AuditKind.REFUSED, caller="a", scheme="bearer", stage="rate")
    stranger = CallRecord(kind=AuditKind.REFUSED, stage="rate")
    async with FileAudit(tmp_path, KEY.private, limits=limits) as audit:
        for _ in range(50):
            audit.refusal(refused)
            audit.refusal(stranger)
        head = a_call().head
        for number in range(500):
            audit.refused(head, Stage.LIMITS, f"reason {number}")
    kept = records(tmp_path)
    assert sum(one.kind == "refused" for one in kept) == 3
    assert kept[-1].counts["rate:call"] == 97
    assert sum(kept[-1].counts.values()) == 597
    assert len(kept[-1].counts) <= 65
    assert len(kept) == 5


async def test_counts_are_written_from_time_to_time(tmp_path):
    limits = AuditLimits(summary_every_s=0.01, head_every_s=0.01)
    async with WatchedAudit(tmp_path, KEY.private, limits=limits) as audit:
        audit.refused(a_call().head, Stage.NOISE, "not opened")
        await until(audit, lambda: any(one.kind == "summary" for one in records(tmp_path)))
        await until(audit, lambda: not verify(tmp_path, KEY.public).unsigned)
    assert verify(tmp_path, KEY.public).whole


async def test_commitments_belong_to_one_field_of_one_call_under_one_key(tmp_path):
    one, other = (FileAudit(tmp_path / name, key) for name, key in
                  (("a", KEY.private), ("b", new_signing_pair().private)))  # fmt: skip
    memory = MemoryAudit()

    def made(audit, call, field, *pieces):
        begun = audit.commitment(call, field)
        for piece in pieces:
            feed(begun, piece)
        return begun.hexdigest()

    assert made(one, "c", "f", b"yes") == made(one, "c", "f", b"yes")
    different = {
        made(one, "c", "f", b"yes"),
        made(one, "c", "f", b"y", b"es"),
        made(one, "c", "g", b"yes"),
        made(one, "d", "f", b"yes"),
        made(other, "c", "f", b"yes"),
        made(memory, "c", "f", b"yes"),
    }
    assert len(different) == 6


async def test_foreign_texts_are_cut_to_what_an_entry_holds():
    assert cut("short") == "short"
    assert len(cut("x" * 5000)) == 259
    assert cut("\ud800") == "?"
    memory = MemoryAudit(records_kept_max=2)
    for number in range(3):
        await memory.attempt(attempt(number))
    memory.outcome(outcome())
    memory.refusal(CallRecord(kind=AuditKind.REFUSED))
    memory.refused(a_call().head, Stage.LIMITS, "large")
    assert len(memory.records) == 2
    assert memory.counts == {"limits": 1}


def test_a_loop_that_is_gone_does_not_stop_the_writer():
    import asyncio

    loop = asyncio.new_event_loop()
    loop.close()
    batch = WaitingBatch(waiters={loop: anyio.Event.__new__(anyio.Event)})
    batch.settle(failed=False)
    assert not batch.waiters


def test_a_bell_that_rings_as_the_rest_ends_is_not_heard_twice():
    mutex = threading.Lock()
    bell = WriterBell(mutex)
    inner = bell._bell

    class LateLock:
        def acquire(self, timeout=None):
            if timeout is None:
                return inner.acquire()
            bell.ring(urgent=True)
            return False

        def release(self):
            inner.release()

    bell._bell = LateLock()
    with mutex:
        bell.rest(1, lightly=True)
    assert inner.locked(), "the next rest is a rest"


def test_a_full_disk_is_looked_at_often(tmp_path):
    audit = FileAudit(tmp_path, KEY.private)
    assert audit._idle_s() == 60.0
    audit._full = True
    assert audit._idle_s() == 1.0


def test_an_idle_writer_rests(tmp_path):
    rests = []

    class RestingAudit(FileAudit):
        def _rest(self):
            rests.append(None)
            super()._rest()

    for _ in range(2):
        with RestingAudit(tmp_path, KEY.private) as audit:
            threading.Event().wait(0.2)
            assert audit.takes_attempts
    assert len(rests) < 20, "a record that is continued and one that is begun"
