"""The history is rewritten, forked or rolled back behind the witness's back, and the witness itself lies or goes away."""

import base64
import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import httpcore
import pytest

from hive.core.clock import SystemClock
from hive.core.errors import ConfigError, LedgerError, WitnessAwayError
from hive.core.randomness import SystemRandomness
from hive.engines import Migration, load_migrations
from hive.engines.ports import Database
from hive.ledger.audit import verify
from hive.ledger.checkpoints import SKEW_MAX_S, Checkpointer
from hive.ledger.drivers.file import FileWitness
from hive.ledger.drivers.hive import HiveWitness
from hive.ledger.notes import Checkpoint, NoteKey, NoteSigner, parse_checkpoint, parse_key
from hive.ledger.witnessing import LogWitness, WitnessRequest
from hive.testing.engines import DatabaseServer
from hive.testing.ledger import line, open_as_owner, open_ledger
from tests.witness_rig import NODE, GrowingLog, asking, served, witness_node

pytestmark = pytest.mark.anyio
SIGNER = NoteSigner(NODE, b"s" * 32)


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return load_migrations("hive.ledger")


# --- the log asks its witness ------------------------------------------------------------------


async def test_a_log_that_only_grows_is_signed_each_time_and_after_a_restart(tmp_path):
    log = GrowingLog()
    async with witness_node(tmp_path, log.signer.key) as (address, witness):
        for _ in range(2):
            async with asking(address, witness.key) as driver:
                for count in (1, 5, 0, 27):
                    checkpoint = log.grow(count)
                    lines = await driver.countersign(checkpoint, log.prove)
                    signed = parse_checkpoint(checkpoint.note + lines)
                    assert signed.witnessed_by(witness.key)
        async with asking(address, witness.key) as driver:
            (latest,) = await driver.latest()
    assert (latest.size, latest.root) == (66, log.checkpoint().root)


async def test_a_rewritten_history_that_has_grown_since_is_not_signed(tmp_path):
    log, forged = GrowingLog(), GrowingLog()
    async with FileWitness.open(f"file:{tmp_path}/file") as own:
        await own.countersign(log.grow(40), log.prove)
        forged.grow(10)
        forged.grow(50, "forged")
        # By size alone it would look like growth: 60 after 40, signed by the node's own key.
        assert forged.checkpoint().size > log.checkpoint().size
        assert forged.checkpoint().signed_by(log.signer.key)
        with pytest.raises(LedgerError, match="another history"):
            await own.countersign(forged.checkpoint(), forged.prove)
    async with (
        witness_node(tmp_path / "node", log.signer.key) as (address, witness),
        asking(address, witness.key) as driver,
    ):
        await driver.countersign(log.checkpoint(), log.prove)
        with pytest.raises(LedgerError, match="another history"):
            await driver.countersign(forged.checkpoint(), forged.prove)


async def test_two_checkpoints_of_one_size_are_a_fork(tmp_path):
    log, forged = GrowingLog(), GrowingLog()
    log.grow(7)
    forged.grow(7, "forged")
    async with (
        witness_node(tmp_path, log.signer.key) as (address, witness),
        asking(address, witness.key) as driver,
    ):
        await driver.countersign(log.checkpoint(), log.prove)
        with pytest.raises(LedgerError, match="another history"):
            await driver.countersign(forged.checkpoint(), forged.prove)


async def test_a_log_that_became_shorter_is_a_database_rolled_back(tmp_path):
    log = GrowingLog()
    log.grow(30)
    async with witness_node(tmp_path, log.signer.key) as (address, witness):
        async with asking(address, witness.key) as driver:
            await driver.countersign(log.checkpoint(), log.prove)
            with pytest.raises(LedgerError, match="of 30 entries"):
                await driver.countersign(log.checkpoint(20), log.prove)
        async with asking(address, witness.key) as driver:  # a restart forgets nothing over there
            with pytest.raises(LedgerError, match="of 30 entries"):
                await driver.countersign(log.checkpoint(20), log.prove)


# --- strangers at the witness's door -----------------------------------------------------------


async def _post(address: str, body: bytes) -> tuple[int, str]:
    async with httpcore.AsyncConnectionPool() as pool:
        answer = await pool.request("POST", f"{address}/add-checkpoint", content=body)
        return answer.status, answer.content.decode()


async def test_the_witness_answers_each_abuse_as_its_protocol_says(tmp_path):
    log, stranger = GrowingLog(), GrowingLog(seed=b"x" * 32)
    elsewhere = GrowingLog("node-2", b"y" * 32)
    first, third = log.grow(5), log.grow(6)
    path = tuple(await log.prove(5))

    def asked(old: int, checkpoint: Checkpoint, steps: tuple[bytes, ...] = ()) -> bytes:
        return WitnessRequest(old_size=old, path=steps, note=checkpoint.note).text().encode()

    async with witness_node(tmp_path, log.signer.key) as (address, witness):
        assert (await _post(address, asked(0, elsewhere.grow(3))))[0] == 404
        assert (await _post(address, asked(0, stranger.grow(3))))[0] == 403
        assert (await _post(address, asked(0, first)))[0] == 200
        assert await _post(address, asked(0, third)) == (409, "5\n")
        assert await _post(address, asked(4, third, path)) == (409, "5\n")
        assert (await _post(address, asked(12, third)))[0] == 400
        assert (await _post(address, asked(5, third)))[0] == 422
        wrong = tuple(bytes([step[0] ^ 1]) + step[1:] for step in path)
        assert (await _post(address, asked(5, third, wrong)))[0] == 422
        assert (await _post(address, asked(5, third, (*path, b"z" * 32))))[0] == 422
        status, lines = await _post(address, asked(5, third, path))
        assert status == 200
        assert parse_checkpoint(third.note + lines).witnessed_by(witness.key)
        for rubbish in (b"", b"old", b"old -1\n\nx", b"old 1\n!\n\nx", b"\xff", b"x" * 200_000):
            assert (await _post(address, rubbish))[0] in (400, 413)


async def test_a_known_key_signs_for_another_nodes_log(tmp_path):
    log = GrowingLog()
    log.chain = "node-2.1"
    async with witness_node(
        tmp_path, log.signer.key, GrowingLog("node-2", b"y" * 32).signer.key
    ) as (
        address,
        _,
    ):
        asked = WitnessRequest(old_size=0, path=(), note=log.grow(3).note)
        assert log.checkpoint().signed_by(log.signer.key)
        assert (await _post(address, asked.text().encode()))[0] == 403


# --- a witness that lies, or goes away ---------------------------------------------------------


class LyingWitness:
    """Signs what it likes, as whom it likes, when it likes."""

    independent = True

    def __init__(self, key: NoteKey, signer: NoteSigner, skew_s: float = 0.0) -> None:
        self.key = key
        self._signer = signer
        self._skew_s = skew_s
        self.away = False

    async def countersign(self, checkpoint: Checkpoint, prove: object) -> str:
        if self.away:
            raise WitnessAwayError("The witness does not answer.")
        now = SystemClock().now() + timedelta(seconds=self._skew_s)
        return self._signer.cosign(checkpoint, int(now.timestamp()))

    async def latest(self) -> Sequence[Checkpoint]:
        if self.away:
            raise WitnessAwayError("The witness does not answer.")
        return []


async def _written(database: Database, witness: LyingWitness) -> list[str]:
    checkpointer = Checkpointer(database, signer=SIGNER, witness=witness)
    async with open_ledger(database, observer=checkpointer.observe) as writer:
        await writer.append(line())
    await checkpointer.write()
    rows = await database.fetch("SELECT note FROM checkpoint")
    return [str(row["note"]) for row in rows]


async def test_a_signature_of_another_key_is_no_witness(database):
    real, other = NoteSigner("w", b"w" * 32), NoteSigner("w", b"v" * 32)
    with pytest.raises(LedgerError, match="no signature of its key"):
        await _written(database, LyingWitness(real.key, other))
    assert not await database.fetch("SELECT 1 FROM checkpoint")


@pytest.mark.parametrize("skew_s", [SKEW_MAX_S + 60, -SKEW_MAX_S - 60])
async def test_a_cosignature_from_another_time_is_refused(database, skew_s):
    signer = NoteSigner("w", b"w" * 32)
    with pytest.raises(LedgerError, match="from now"):
        await _written(database, LyingWitness(signer.key, signer, skew_s))


async def test_a_witness_that_is_away_holds_nothing_up_and_is_told(database):
    signer = NoteSigner("w", b"w" * 32)
    witness = LyingWitness(signer.key, signer)
    witness.away = True
    (note,) = await _written(database, witness)
    assert parse_checkpoint(note).signed_by(SIGNER.key)
    assert not parse_checkpoint(note).witnessed_by(signer.key)
    report = await verify(database, key=SIGNER.key, witness=witness)
    assert (report.problem, report.witness) == (None, "away")


async def test_a_witness_that_answers_rubbish_is_away(tmp_path):
    async def rubbish(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"\x00" * (5 << 20)})

    log = GrowingLog()
    key = NoteSigner("other-node", b"w" * 32).key
    with served(rubbish) as address:
        async with asking(address, key) as driver:
            with pytest.raises(WitnessAwayError):
                await driver.countersign(log.grow(2), log.prove)
            with pytest.raises(WitnessAwayError):
                await driver.latest()
    async with asking("http://127.0.0.1:1", key) as driver:
        with pytest.raises(WitnessAwayError):
            await driver.countersign(log.grow(2), log.prove)


# --- the database behind the node ----------------------------------------------------------------


async def test_an_older_backup_of_the_database_is_found_by_the_other_node(
    database: Database, database_server: DatabaseServer, tmp_path: Path
) -> None:
    async with (
        witness_node(tmp_path, SIGNER.key) as (address, witness),
        asking(address, witness.key) as driver,
    ):
        checkpointer = Checkpointer(database, signer=SIGNER, witness=driver)
        async with open_ledger(database, observer=checkpointer.observe) as writer:
            for _ in range(5):
                await writer.append(line())
            await checkpointer.write()
            for _ in range(5):
                await writer.append(line())
            await checkpointer.write()
        report = await verify(database, key=SIGNER.key, witness=driver)
        assert (report.problem, report.witness) == (None, "witnessed")
        async with open_as_owner(database, database_server) as owner:
            for table in ("entry", "checkpoint"):
                await owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            await owner.execute("DELETE FROM entry WHERE sequence > 6")
            await owner.execute("DELETE FROM checkpoint WHERE size > 6")
        assert (await verify(database, key=SIGNER.key)).ok, "the backup is good in itself"
        report = await verify(database, key=SIGNER.key, witness=driver)
    assert report.problem is not None
    assert report.problem.sequence == 7


async def test_the_witnesses_memory_that_is_taken_away_is_found_by_its_missing_key(tmp_path):
    log = GrowingLog()
    async with FileWitness.open(f"file:{tmp_path}/file") as own:
        key = own.key
    shutil.rmtree(tmp_path / "file")
    async with FileWitness.open(f"file:{tmp_path}/file") as again:
        lines = await again.countersign(log.grow(3), log.prove)
    assert not parse_checkpoint(log.checkpoint().note + lines).witnessed_by(key)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?key=x",
        "?key=other%2B00000000%2B"
        + base64.b64encode(b"\x01" + b"k" * 32).decode().replace("=", "%3D"),
    ],
)
async def test_a_witness_without_its_key_is_no_setting(query):
    from hive.ledger.drivers.hive import HiveWitness

    with pytest.raises(ConfigError):
        async with HiveWitness.open(f"hive:https://a{query}", clock=None, randomness=None):  # type: ignore[arg-type]
            pass


def test_a_key_is_read_as_it_is_written():
    key = NoteSigner("witness", b"w" * 32).key
    assert parse_key(key.text) == parse_key(key.cosigner_text) == key


async def test_one_node_speaks_for_the_log_of_another(tmp_path):
    victim, mallory = GrowingLog(), GrowingLog()
    # Its key names itself by the end of the other node's id, and signs a history of its own for that log.
    short = NoteSigner(f"hive-{NODE[-1]}", b"m" * 32)
    mallory.signer = short
    async with FileWitness.open(f"file:{tmp_path}/w") as memory:
        with pytest.raises(LedgerError, match="could speak for the same log"):
            LogWitness(memory, [victim.signer.key, short.key])
        alone = LogWitness(memory, [short.key])
        asked = WitnessRequest(old_size=0, path=(), note=mallory.grow(3).note)
        answer = await alone.add_checkpoint(asked.text().encode())
        assert answer.status == 404


@pytest.mark.parametrize("host", ["127.0.0.1.evil.example", "localhost.evil.example"])
async def test_a_host_that_only_begins_like_this_machine_is_not_asked_in_the_clear(host):
    key = quote(SIGNER.key.cosigner_text, safe="")
    url = f"hive:http://{host}/witness?key={key}"
    with pytest.raises(ConfigError, match="names no node"):
        async with HiveWitness.open(url, clock=SystemClock(), randomness=SystemRandomness()):
            pass


def test_a_size_of_many_digits_is_a_checkpoint_that_cannot_be_read():
    note = SIGNER.checkpoint("node-1.1", 3, b"r" * 32).replace("\n3\n", f"\n{'3' * 5000}\n")
    with pytest.raises(LedgerError, match="cannot be read"):
        parse_checkpoint(note)
