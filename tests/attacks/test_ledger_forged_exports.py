"""An exported record is changed on its way to an auditor, who has the node's key and the one-file verifier.

Everything here passes for a reader who only asks whether hashes and links fit: each forged line has a right hash.
"""

import base64
import hashlib
import json

import pytest

from hive.ledger.merkle import Frontier, inclusion_proof
from hive.ledger.notes import NoteSigner, parse_checkpoint
from hive.ledger.verify_export import RecordCheck, _each_once

SIGNER = NoteSigner("node-1", b"s" * 32)
WITNESS = NoteSigner("witness", b"w" * 32)
KEYS = [SIGNER.key.text, WITNESS.key.cosigner_text]
TRUE = "ok: 9 entries, 2 signed checkpoints, 0 proofs"


class Record:
    """A record as lines; `chains` are what a node wrote, epoch by epoch."""

    def __init__(self) -> None:
        self.notes: list[dict] = []
        self.chains: dict[str, list[dict]] = {}

    def entry(self, chain: str, **about) -> dict:
        mine = self.chains.setdefault(chain, [])
        last = list(self.chains)[-2:-1]
        before = self.chains[last[0]] if last else []
        body = {
            "previous_chain": last[0] if last else None,
            "previous_sequence": len(before) or None,
            "previous_hash": before[-1]["hash"] if before else None,
        }
        fields = {
            "chain": chain,
            "sequence": len(mine) + 1,
            "name": "a.thing",
            "body": json.dumps({} if mine else body),
            "previous_hash": mine[-1]["hash"] if mine else "0" * 64,
            **about,
        }
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest = hashlib.sha256(b"hive.ledger.entry.v1\n" + text.encode()).hexdigest()
        mine.append({**fields, "hash": digest})
        return mine[-1]

    def grow(self, chain: str, count: int) -> None:
        for _ in range(count):
            self.entry(chain)

    def sign(self, chain: str, *, witnessed: bool = True) -> None:
        tree = Frontier()
        for one in self.chains[chain]:
            tree.push(bytes.fromhex(one["hash"]))
        note = SIGNER.checkpoint(chain, tree.size, tree.root())
        note += WITNESS.cosign(parse_checkpoint(note), 1_800_000_000) if witnessed else ""
        self.notes.append({"checkpoint": note})

    def proof(self, chain: str, sequence: int) -> dict:
        leaves = [bytes.fromhex(one["hash"]) for one in self.chains[chain]]
        path = [base64.b64encode(one).decode() for one in inclusion_proof(sequence - 1, leaves)]
        entry = self.chains[chain][sequence - 1]
        return {"proof": {"entry": entry, "size": len(leaves), "path": path}}

    def lines(self) -> list[dict]:
        head = {"format": "hive.ledger.export.v1", "key": KEYS[0], "witness_key": KEYS[1]}
        entries = [{"entry": one} for chain in self.chains.values() for one in chain]
        return [head, *self.notes, *entries]


def verdict(lines, keys=KEYS) -> str:
    check = RecordCheck(list(keys))
    try:
        for one in lines:
            text = one if isinstance(one, str) else json.dumps(one)
            check.take(json.loads(text, object_pairs_hook=_each_once))
        return check.end()
    except ValueError as error:
        return f"FAILED: {error}"


@pytest.fixture
def record() -> Record:
    record = Record()
    record.grow("node-1.1", 5)
    record.sign("node-1.1")
    record.grow("node-1.2", 4)
    record.sign("node-1.2")
    return record


def test_the_true_record_is_accepted(record):
    assert verdict(record.lines()) == TRUE


def test_lines_are_added_after_the_last_signature(record):
    record.entry("node-1.2", name="invented")
    assert verdict(record.lines()) == TRUE + ", 1 newer entries that nobody has signed yet"
    record.sign("node-1.2", witnessed=False)
    assert "did not sign chain node-1.2 at 5" in verdict(record.lines())


def test_lines_are_added_to_an_epoch_that_had_ended(record):
    true = record.lines()
    record.entry("node-1.1", name="invented")
    forged = [*true, {"entry": record.chains["node-1.1"][-1]}]
    assert "had ended" in verdict(forged)


def test_a_newest_epoch_is_left_out_beside_a_proof_of_something_else(record):
    shorter = [one for one in record.lines() if '"node-1.2"' not in json.dumps(one)]
    assert "ends at 0, but 4 were signed" in verdict(shorter)
    assert "ends at 0, but 4 were signed" in verdict([*shorter, record.proof("node-1.1", 2)])


@pytest.mark.parametrize("kept", [0, 1])
def test_nothing_is_left_of_the_record(record, kept):
    assert "nothing in it" in verdict(record.lines()[:kept])
    assert "nothing in it" in verdict(record.lines()[:kept], keys=())


def test_a_line_says_something_beside_what_was_signed(record):
    lines = record.lines()
    lines[-1] = {**lines[-1], "note": "approved by the board"}
    assert "no line of a record" in verdict(lines)


def test_a_field_stands_twice_so_that_two_readers_see_two_records(record):
    lines = record.lines()
    text = json.dumps(lines[-1])
    forged = text.replace('"name": "a.thing"', '"name": "paid nobody", "name": "a.thing"')
    assert json.loads(forged) == lines[-1], "a usual reader takes the last of the two"
    assert "stands twice" in verdict([*lines[:-1], forged])


def test_an_entry_is_proved_in_a_tree_that_the_witness_never_saw(record):
    split = Record()
    split.grow("node-1.1", 2)
    split.entry("node-1.1", name="invented")
    split.sign("node-1.1", witnessed=False)
    head, *_ = record.lines()
    # Beside it the true checkpoint, witnessed and of a larger tree.
    lines = [head, *split.notes, record.notes[0], split.proof("node-1.1", 3)]
    assert verdict(lines, keys=KEYS[:1]).startswith("ok")
    assert "did not sign this tree" in verdict(lines)


def test_an_epoch_and_a_node_are_invented_after_the_last_signature(record):
    record.grow("node-1.3", 2)
    stranger = Record()
    stranger.grow("node-2.1", 3)
    lines = [*record.lines(), *stranger.lines()[1:]]
    assert verdict(lines) == TRUE + ", 5 newer entries that nobody has signed yet"


def test_the_newest_signatures_are_taken_away_and_what_they_covered_is_changed(record):
    record.chains["node-1.2"].pop()
    record.entry("node-1.2", name="invented")
    assert "another history" in verdict(record.lines())
    record.notes.pop()
    told = (
        "ok: 5 entries, 1 signed checkpoints, 0 proofs, 4 newer entries that nobody has signed yet"
    )
    assert verdict(record.lines()) == told


def test_no_signature_is_left(record):
    record.notes.clear()
    assert "nothing in it is signed" in verdict(record.lines())
    nobody = "ok: 0 entries, 0 signed checkpoints, 0 proofs, 9 newer entries that nobody"
    assert verdict(record.lines(), keys=()).startswith(nobody)


def test_a_true_checkpoint_stands_after_forged_entries_so_that_no_root_is_compared(record):
    forged = Record()
    forged.entry("node-1.1", name="invented")
    forged.grow("node-1.1", 4)
    head, *entries = forged.lines()
    assert "stands after entries" in verdict([head, *entries, record.notes[0]])
    assert "another history" in verdict([head, record.notes[0], *entries])


def test_a_checkpoint_is_signed_by_a_key_that_nobody_named(record):
    head, *lines = record.lines()
    assert "signed by no known key" in verdict(
        [{**head, "key": None, "witness_key": None}, *lines], ()
    )


def test_the_end_of_an_older_epoch_is_changed_and_its_checkpoint_taken_away(record):
    del record.notes[0]
    assert verdict(record.lines()) == "ok: 9 entries, 1 signed checkpoints, 0 proofs"
    last = record.chains["node-1.1"].pop()
    assert "the epoch before it is not as it says" in verdict(record.lines())
    record.entry("node-1.1", name="invented")
    assert record.chains["node-1.1"][-1]["sequence"] == last["sequence"]
    assert "the epoch before it is not as it says" in verdict(record.lines())


def test_a_line_follows_another_one_than_it_says(record):
    record.entry("node-1.2", previous_hash="f" * 64)
    assert "does not follow the one before" in verdict(record.lines())


def test_an_entry_is_changed_and_keeps_its_hash(record):
    record.chains["node-1.2"][1]["name"] = "invented"
    assert "its hash is another one" in verdict(record.lines())
    assert "its hash is another one" in verdict([*record.lines()[:2], record.proof("node-1.2", 2)])


def test_the_path_to_the_root_is_of_another_entry(record):
    mine, other = record.proof("node-1.1", 2), record.proof("node-1.1", 4)
    lines = [*record.lines()[:2], mine]
    assert verdict(lines) == "ok: 0 entries, 1 signed checkpoints, 1 proofs"
    mine["proof"]["path"] = other["proof"]["path"]
    assert "does not stand in the tree" in verdict(lines)
