"""A record on disk that somebody changed: edited, shortened, spliced, reordered, signed anew."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hive_a2a.crypto import new_signing_pair
from hive_a2a.stages.audit import AuditKind, CallRecord
from hive_a2a.stages.audit_batch import AuditLimits
from hive_a2a.stages.audit_chain import (
    encoder,
    files_of,
    head_line,
    line_of,
    next_hash,
    read_head,
    read_line,
)
from hive_a2a.stages.audit_file import FileAudit
from hive_a2a.stages.audit_verify import verify

pytestmark = pytest.mark.anyio
KEY, MALLORY = new_signing_pair(), new_signing_pair()


async def fill(folder: Path, *, key=KEY, count=30, rotate_bytes=1500) -> None:
    limits = AuditLimits(rotate_bytes=rotate_bytes, head_every_entries=8)
    async with FileAudit(folder, key.private, limits=limits) as audit:
        for number in range(count):
            record = CallRecord(kind=AuditKind.ATTEMPT, call=f"c-{number}", caller="mallory")
            await audit.attempt(record)


@pytest.fixture
async def folder(tmp_path, anyio_backend) -> Path:
    await fill(tmp_path / "record")
    assert verify(tmp_path / "record", KEY.public).whole
    return tmp_path / "record"


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def edit_an_entry(folder: Path) -> None:
    path = files_of(folder)[1]
    path.write_bytes(path.read_bytes().replace(b"mallory", b"nobody!", 1))


def edit_an_entry_and_its_hash(folder: Path) -> None:
    path = files_of(folder)[0]
    kept = lines(path)
    before = read_line(kept[1][:-1]).claimed
    packed = read_line(kept[2][:-1]).packed.replace(b"mallory", b"nobody!")
    kept[2] = line_of(packed, next_hash(before, packed))
    path.write_bytes(b"".join(kept))


def rewrite_everything_after_an_entry(folder: Path) -> None:
    after = None
    for path in files_of(folder):
        kept = []
        for line in lines(path):
            read = read_line(line[:-1])
            packed = read.packed.replace(b'"c-3"', b'"x-3"')
            if after is None and packed == read.packed:
                kept.append(line)
                last = read.claimed
                continue
            if read.entry.record.kind == AuditKind.OPENED:
                facts = {**read.entry.record.facts, "before": (after or last).hex()}
                record = CallRecord(kind=AuditKind.OPENED, facts=facts)
                packed = encoder.encode(type(read.entry)(read.entry.n, read.entry.at, record))
            after = next_hash(after or last, packed)
            kept.append(line_of(packed, after))
        path.write_bytes(b"".join(kept))


def take_one_out(folder: Path) -> None:
    path = files_of(folder)[1]
    kept = lines(path)
    path.write_bytes(b"".join(kept[:3] + kept[4:]))


def swap_two(folder: Path) -> None:
    path = files_of(folder)[0]
    kept = lines(path)
    kept[2], kept[3] = kept[3], kept[2]
    path.write_bytes(b"".join(kept))


def cut_the_end(folder: Path) -> None:
    path = files_of(folder)[-1]
    path.write_bytes(b"".join(lines(path)[:-1]))


def take_the_last_file(folder: Path) -> None:
    files_of(folder)[-1].unlink()


def take_the_first_file(folder: Path) -> None:
    files_of(folder)[0].unlink()


def take_a_file_from_the_middle(folder: Path) -> None:
    files_of(folder)[1].unlink()


def write_a_hash_in_capitals(folder: Path) -> None:
    path = files_of(folder)[0]
    kept = lines(path)
    packed, _, claimed = kept[1].rpartition(b"\t")
    kept[1] = packed + b"\t" + claimed.upper()
    path.write_bytes(b"".join(kept))


def swap_two_files(folder: Path) -> None:
    one, other = files_of(folder)[1:3]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def take_all_files(folder: Path) -> None:
    for path in files_of(folder):
        path.unlink()


def take_the_heads(folder: Path) -> None:
    (folder / "heads").unlink()


def sign_heads_anew(folder: Path) -> None:
    path = folder / "heads"
    heads = [read_head(line[:-1], KEY.public) for line in lines(path)]
    path.write_bytes(b"".join(head_line(MALLORY.private, head) for head in heads))


def spoil_the_heads(folder: Path) -> None:
    (folder / "heads").write_bytes(b"none of this is a head\n")


def move_a_file_away_from_its_opening(folder: Path) -> None:
    path = files_of(folder)[1]
    path.write_bytes(b"".join(lines(path)[1:]))


ATTACKS = [
    edit_an_entry,
    edit_an_entry_and_its_hash,
    rewrite_everything_after_an_entry,
    take_one_out,
    swap_two,
    cut_the_end,
    take_the_last_file,
    take_the_first_file,
    take_a_file_from_the_middle,
    swap_two_files,
    write_a_hash_in_capitals,
    take_all_files,
    take_the_heads,
    sign_heads_anew,
    spoil_the_heads,
    move_a_file_away_from_its_opening,
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_changed_record_is_told_from_a_whole_one(folder, attack: Callable[[Path], None]):
    before = [path.read_bytes() for path in files_of(folder)]
    attack(folder)
    changed = [path.read_bytes() for path in files_of(folder)] != before
    assert changed or attack in (take_the_heads, sign_heads_anew, spoil_the_heads)
    verdict = verify(folder, KEY.public)
    assert not verdict.whole
    assert verdict.problem


async def test_a_record_of_another_server_in_its_place(folder, tmp_path):
    await fill(tmp_path / "other", key=MALLORY)
    assert verify(tmp_path / "other", MALLORY.public).whole
    assert not verify(tmp_path / "other", KEY.public).whole
    (tmp_path / "other" / "heads").write_bytes((folder / "heads").read_bytes())
    assert "another key" in verify(tmp_path / "other", KEY.public).problem


async def test_a_file_spliced_from_another_record_of_the_same_key(folder, tmp_path):
    await fill(tmp_path / "other")
    mine, other = files_of(folder)[1], files_of(tmp_path / "other")[1]
    assert mine.name == other.name
    shutil.copy(other, mine)
    assert "another chain" in verify(folder, KEY.public).problem


async def test_an_older_whole_record_is_told_by_a_head_kept_elsewhere(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "older")
    await fill(folder)
    known = verify(folder, KEY.public).head
    assert verify(tmp_path / "older", KEY.public).whole, "by itself it is whole"
    assert "was cut" in verify(tmp_path / "older", KEY.public, known=known).problem
    assert verify(folder, KEY.public, known=known).whole
    await fill(tmp_path / "new", count=60)
    assert not verify(tmp_path / "new", KEY.public, known=known).whole
    small = verify(tmp_path / "older", KEY.public).head
    await fill(tmp_path / "long", count=90, rotate_bytes=1 << 20)
    assert not verify(tmp_path / "long", KEY.public, known=small).whole


def test_an_empty_folder_is_whole_only_if_nothing_else_is_known(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    assert verify(tmp_path / "empty", KEY.public).entries == 0
    known = verify(folder, KEY.public).head
    assert not verify(tmp_path / "empty", KEY.public, known=known).whole
