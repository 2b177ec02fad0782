"""Does the record on disk still say what was written? Reads every line, trusts none.

Found are: an entry that was changed, taken out, moved or put in; a file that is missing or of another
chain; heads that another key signed; and the loss of any entry that a signed head counts. Not found, by
anybody who has only the folder, is what happened to the entries after the last head (`unsigned` says
how many there are), and the loss of the newest entries together with the newest heads: for that, keep a head
elsewhere and pass it as `known`.
"""

from dataclasses import dataclass, field
from pathlib import Path

from hive_a2a.stages.audit_chain import (
    HEADS_NAME,
    AuditFormatError,
    SignedHead,
    files_of,
    lines_of,
    next_hash,
    opened_of,
    read_head,
    read_line,
    start_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAuditVerdict:
    """What was found. `problem` is empty where nothing is wrong; `at_entry` is where it begins."""

    entries: int = 0
    chain: str = ""
    heads: int = 0
    unsigned: int = 0
    head: SignedHead | None = None
    problem: str = ""
    at_entry: int = 0

    @property
    def whole(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.problem


@dataclass(slots=True)
class _Walk:
    public: bytes
    heads: dict[int, SignedHead]
    count: int = 0
    hash: bytes = b""
    chain: bytes = b""
    missed: set[int] = field(default_factory=set)


class _WrongError(Exception):
    def __init__(self, problem: str, at_entry: int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.at_entry = at_entry


def verify(folder: Path, public_key: bytes, *, known: SignedHead | None = None) -> FileAuditVerdict:
    """Verify a record; `known` is a head that was kept elsewhere."""
    try:
        heads = _heads(folder, public_key)
    except AuditFormatError as error:
        return FileAuditVerdict(problem=str(error))
    newest = max(heads, key=lambda head: head.n, default=None)
    wanted = {head.n: head for head in heads}
    if known is not None:
        wanted.setdefault(known.n, known)
    walk = _Walk(public_key, wanted)
    problem, at_entry = "", 0
    try:
        for path in files_of(folder):
            _walk_file(walk, path)
        _complete(walk, known)
    except _WrongError as wrong:
        problem, at_entry = wrong.problem, wrong.at_entry
    return FileAuditVerdict(
        entries=walk.count,
        chain=walk.chain.hex(),
        heads=len(heads),
        unsigned=max(0, walk.count - newest.n) if newest else walk.count,
        head=newest,
        problem=problem,
        at_entry=at_entry,
    )


def _heads(folder: Path, public: bytes) -> list[SignedHead]:
    path = folder / HEADS_NAME
    if not path.exists():
        return []
    # A last line without an end is a crash while it was written: it signs nothing.
    return [read_head(line, public) for _, line, ended in lines_of(path) if ended]


def _walk_file(walk: _Walk, path: Path) -> None:
    first = True
    for _, line, ended in lines_of(path):
        at = walk.count + 1
        if not ended:
            raise _WrongError("The record ends in the middle of an entry.", at)
        try:
            read = read_line(line)
            if first:
                _enter_file(walk, path, opened_of(read.entry.record), read.entry.n)
        except AuditFormatError as error:
            raise _WrongError(error.what, at) from None
        first = False
        if read.entry.n != walk.count + 1:
            raise _WrongError(f"Entry {at} is missing: entry {read.entry.n} stands there.", at)
        walk.hash = next_hash(walk.hash, read.packed)
        if walk.hash != read.claimed:
            raise _WrongError("An entry does not hash to what it claims.", at)
        walk.count = at
        head = walk.heads.get(at)
        if head is not None and (head.head, head.chain) != (walk.hash.hex(), walk.chain.hex()):
            raise _WrongError("The record is not the one that was signed.", at)


def _enter_file(walk: _Walk, path: Path, opened: tuple[bytes, bytes, bytes], number: int) -> None:
    chain, key, before = opened
    at = walk.count + 1
    if key != walk.public:
        raise _WrongError("The record belongs to another key.", at)
    if not walk.chain:
        walk.chain, walk.hash = chain, start_of(chain, key)
    if number != at or path.stem.lstrip("0") != str(at):
        raise _WrongError(f"The file of entry {at} is missing.", at)
    if (chain, before) != (walk.chain, walk.hash):
        raise _WrongError("A file is of another chain.", at)


def _complete(walk: _Walk, known: SignedHead | None) -> None:
    newest = max(walk.heads, default=0)
    if newest > walk.count:
        raise _WrongError(
            f"The record was cut: {newest} entries were signed, {walk.count} are left.",
            walk.count + 1,
        )
    if walk.count and not newest:
        raise _WrongError("The record has no signed head.", 1)
    if known is not None and known.chain != walk.chain.hex():
        raise _WrongError("The record is another than the one whose head is known.", 1)
