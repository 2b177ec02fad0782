"""Does the record still say what was written? Every line is hashed again, every link and root compared.

One reading in one snapshot, in batches. What is found first is named; nothing is repaired.

    a changed line       its hash is another one
    a missing line       a gap, or a chain that ends before the next epoch, a checkpoint or a witness says
    a new history        its roots are not those that the node's key, and a witness's, have signed
    a changed task       the projection is not what the lines have told
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from hive.core.errors import WitnessAwayError
from hive.core.json import Json, decode
from hive.engines.ports import Database, Row, Transaction
from hive.ledger.entry import EPOCH_OPENED, GENESIS_HASH, Entry, EntryKind, hash_of, line_of
from hive.ledger.merkle import Frontier
from hive.ledger.notes import Checkpoint, NoteKey, parse_checkpoint
from hive.ledger.ports import Witness
from hive.ledger.projected import ProjectedTasks, projection_problem
from hive.ledger.rows import COLUMNS, entry_of

BATCH_ENTRIES: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditProblem:
    """The first thing that does not fit: where, and what is wrong there."""

    chain: str
    sequence: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReport:
    """One chain that was read to its end."""

    chain: str
    entries: int
    head: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What `verify` found. `witness` is `none`, `away`, `self-witnessed` or `witnessed`."""

    problem: AuditProblem | None
    chains: tuple[ChainReport, ...]
    entries: int
    contents: int
    contents_forgotten: int
    tasks: int
    checkpoints: int
    witness: str

    @property
    def ok(self) -> bool:
        """Tell whether everything fits."""
        return self.problem is None


@dataclass(slots=True, kw_only=True)
class _Findings:
    chains: list[ChainReport] = field(default_factory=list)
    heads: dict[str, ChainReport] = field(default_factory=dict)
    entries: int = 0
    contents: int = 0
    forgotten: int = 0
    tasks: int = 0
    checkpoints: int = 0


class _Broken(Exception):  # noqa: N818
    def __init__(self, chain: str, sequence: int, what: str) -> None:
        super().__init__(what)
        self.problem = AuditProblem(chain=chain, sequence=sequence, what=what)


async def verify(
    database: Database, *, key: NoteKey | None = None, witness: Witness | None = None
) -> AuditReport:
    """Read the whole ledger and compare everything that can be compared.

    `key` is what the node signs checkpoints with; without it their signatures are not checked.

    Raises:
        EngineUnavailableError: the database is away.

    """
    # The witness is asked before the snapshot is taken, so it cannot know more than the database.
    away = False
    try:
        remembered = [] if witness is None else list(await witness.latest())
    except WitnessAwayError:
        remembered, away = [], True
    findings = _Findings()
    problem = None
    try:
        _check_witness(remembered, witness)
        async with database.transaction() as snapshot:
            await snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            await _verify_all(snapshot, findings, key, remembered)
    except _Broken as broken:
        problem = broken.problem
    return AuditReport(
        problem=problem,
        chains=tuple(findings.chains),
        entries=findings.entries,
        contents=findings.contents,
        contents_forgotten=findings.forgotten,
        tasks=findings.tasks,
        checkpoints=findings.checkpoints,
        witness="away" if away else _witness_word(witness, remembered),
    )


async def chains_of(source: Database | Transaction) -> list[str]:
    """Return every chain that has entries, node by node, epochs in order."""
    rows = await source.fetch(
        "WITH RECURSIVE c AS (SELECT min(chain) AS chain FROM entry UNION ALL "
        "SELECT (SELECT min(chain) FROM entry WHERE chain > c.chain) FROM c "
        "WHERE c.chain IS NOT NULL) SELECT chain FROM c WHERE chain IS NOT NULL"
    )
    return sorted((cast("str", row["chain"]) for row in rows), key=_chain_order)


async def rows_of_chain(
    source: Database | Transaction, chain: str, columns: str = "e.*"
) -> AsyncIterator[Sequence[Row]]:
    """Yield a chain's rows in order, a batch at a time."""
    after = -1
    while True:
        rows = await source.fetch(
            f"SELECT {columns} FROM entry e LEFT JOIN content c ON c.id = e.content_id "  # noqa: S608
            "LEFT JOIN content_key k ON k.id = c.key_id "
            "WHERE e.chain = $1 AND e.sequence > $2 ORDER BY e.sequence LIMIT $3",
            chain,
            after,
            BATCH_ENTRIES,
        )
        if not rows:
            return
        yield rows
        after = cast("int", rows[-1]["sequence"])


async def _verify_all(
    snapshot: Transaction,
    findings: _Findings,
    key: NoteKey | None,
    remembered: list[Checkpoint],
) -> None:
    roots = await _roots(snapshot, key, remembered)
    told = ProjectedTasks()
    for chain in await chains_of(snapshot):
        await _verify_chain(snapshot, chain, findings, roots.pop(chain, {}), told)
    for chain, sizes in sorted(roots.items()):
        raise _Broken(chain, 1, f"all {max(sizes)} entries of this chain were removed")
    problem = await projection_problem(snapshot, told)
    if problem:
        raise _Broken("", 0, problem)
    findings.tasks = len(told.tasks)


async def _roots(
    snapshot: Transaction, key: NoteKey | None, remembered: list[Checkpoint]
) -> dict[str, dict[int, set[bytes]]]:
    """Return what was signed: per chain and size the root, and who says so."""
    rows = await snapshot.fetch("SELECT chain, size, note FROM checkpoint ORDER BY chain, size")
    roots: dict[str, dict[int, set[bytes]]] = {}
    for row in rows:
        checkpoint = parse_checkpoint(cast("str", row["note"]))
        named = (checkpoint.chain, checkpoint.size) == (row["chain"], row["size"])
        if not named or (key is not None and not checkpoint.signed_by(key)):
            raise _Broken(
                cast("str", row["chain"]),
                cast("int", row["size"]),
                "the checkpoint at this entry is not signed by the node's key",
            )
        roots.setdefault(checkpoint.chain, {}).setdefault(checkpoint.size, set()).add(
            checkpoint.root
        )
    for checkpoint in remembered:
        roots.setdefault(checkpoint.chain, {}).setdefault(checkpoint.size, set()).add(
            checkpoint.root
        )
    return roots


_CHECKED: Final = ", ".join(f"e.{name.strip()}" for name in COLUMNS.split(",")) + (
    ", e.parent, c.id IS NULL AS content_missing, k.id IS NULL AS key_missing, "
    "k.forgotten_at IS NOT NULL AS forgotten, "
    "encode(sha256(c.sealed), 'hex') = c.id AS content_fits"
)


async def _verify_chain(
    snapshot: Transaction,
    chain: str,
    findings: _Findings,
    roots: dict[int, set[bytes]],
    told: ProjectedTasks,
) -> None:
    tree, previous = Frontier(), GENESIS_HASH
    async for rows in rows_of_chain(snapshot, chain, _CHECKED):
        for row in rows:
            entry = entry_of(row)
            _verify_line(entry, tree.size + 1, previous)
            body = cast("dict[str, Json]", decode(entry.body))
            if entry.sequence == 1:
                _verify_genesis(entry, body, findings)
            _verify_content(entry, row, findings)
            if row["parent"] != (body.get("parent") if "parent" in body else None):
                raise _Broken(chain, entry.sequence, "its parent is not the one in its body")
            told.add(entry, body)
            previous = entry.hash
            tree.push(bytes.fromhex(entry.hash))
            _verify_root(chain, tree, roots.pop(tree.size, set()), findings)
    for size in sorted(roots):
        what = f"the chain ends here, but {size} entries of it were signed"
        raise _Broken(chain, tree.size + 1, what)
    report = ChainReport(chain=chain, entries=tree.size, head=previous)
    findings.chains.append(report)
    findings.heads[chain] = report
    findings.entries += tree.size


def _verify_line(entry: Entry, expected: int, previous: str) -> None:
    if entry.sequence != expected:
        what = "this entry is missing" if entry.sequence > expected else "it stands out of order"
        raise _Broken(entry.chain, min(expected, entry.sequence), what)
    if hash_of(line_of(entry)) != entry.hash:
        raise _Broken(entry.chain, entry.sequence, "it was changed: its hash is another one")
    if entry.previous_hash != previous:
        raise _Broken(entry.chain, entry.sequence, "it does not follow the entry before")


def _verify_genesis(entry: Entry, body: dict[str, Json], findings: _Findings) -> None:
    """Compare what an epoch says of the one before with what was read of that."""
    if entry.name != EPOCH_OPENED or entry.kind is not EntryKind.EVENT:
        raise _Broken(entry.chain, 1, "the first entry does not open an epoch")
    node = entry.chain.rpartition(".")[0]
    before = [report for report in findings.chains if report.chain.rpartition(".")[0] == node]
    found = before[-1] if before else None
    said = (body.get("previous_chain"), body.get("previous_sequence"), body.get("previous_hash"))
    actual = (found.chain, found.entries, found.head) if found else (None, None, None)
    if said == actual:
        return
    if found is not None and said[0] == found.chain:
        what = f"the chain ends here, but the next epoch says that it had {said[1]} entries"
        raise _Broken(found.chain, found.entries + 1, what)
    raise _Broken(entry.chain, 1, f"the epoch before it, {said[0]}, was removed")


def _verify_content(entry: Entry, row: Row, findings: _Findings) -> None:
    if not entry.content_id:
        return
    findings.contents += 1
    if row["content_missing"]:
        raise _Broken(entry.chain, entry.sequence, "its content is missing")
    if not row["content_fits"]:
        raise _Broken(entry.chain, entry.sequence, "its content was changed")
    if row["key_missing"]:
        raise _Broken(entry.chain, entry.sequence, "the key of its content is missing")
    findings.forgotten += bool(row["forgotten"])


def _verify_root(chain: str, tree: Frontier, signed: set[bytes], findings: _Findings) -> None:
    if not signed:
        return
    findings.checkpoints += 1
    if signed != {tree.root()}:
        what = "another history up to here was signed: the chain was rewritten"
        raise _Broken(chain, tree.size, what)


def _check_witness(remembered: list[Checkpoint], witness: Witness | None) -> None:
    for checkpoint in remembered:
        if witness is not None and not checkpoint.witnessed_by(witness.key):
            what = "the witness holds a checkpoint that it did not sign"
            raise _Broken(checkpoint.chain, checkpoint.size, what)


def _witness_word(witness: Witness | None, remembered: list[Checkpoint]) -> str:
    if witness is None or not remembered:
        return "none"
    return "witnessed" if witness.independent else "self-witnessed"


def _chain_order(chain: str) -> tuple[str, int]:
    node, _, epoch = chain.rpartition(".")
    return (node, int(epoch) if epoch.isdigit() else 0)
