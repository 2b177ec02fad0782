"""Made-up bytes for what the stages of the SDK read: warrants, proofs, and records on disk."""

import random
import secrets
import time
from pathlib import Path

import anyio
import pytest

from hive_a2a.crypto import new_signing_pair
from hive_a2a.faults import WireFault
from hive_a2a.stages.audit import AuditError, AuditKind, CallRecord
from hive_a2a.stages.audit_batch import AuditLimits
from hive_a2a.stages.audit_chain import files_of, read_head, read_line
from hive_a2a.stages.audit_disk import recover
from hive_a2a.stages.audit_file import FileAudit
from hive_a2a.stages.audit_verify import verify
from hive_a2a.stages.tenuo_warrants import (
    HeldWarrant,
    TenuoWarrants,
    WarrantError,
    attenuate_for,
    mint,
    proof_headers,
)
from hive_a2a.stages.warrant import (
    WarrantQuestion,
    WarrantRefusedError,
    arguments_of,
    bound_to,
    read_proof,
)
from tests.fuzz.mutator import SECONDS, SEED, fuzz, mutations
from tests.stages_rig import URL, a_call, a_request

pytestmark = pytest.mark.fuzz
ROOT, HOLDER, NEXT, KEY = (new_signing_pair() for _ in range(4))


def warrants() -> list[HeldWarrant]:
    held = mint(
        ROOT.private,
        holder=HOLDER.public,
        tools={"a2a.SendMessage": {}, "a2a.GetTask": {}},
        ttl_s=7000,
    )
    child = attenuate_for(NEXT.public, held, holder_private=HOLDER.private, ttl_s=7000)
    return [held, child]


def test_warrant_headers():
    good = [held.header().encode() for held in warrants()]
    fuzz(good, lambda data: HeldWarrant.read(data.decode("latin-1")), allowed=WarrantError)


def test_a_mutated_warrant_never_verifies_as_anything_else():
    params = a_request("hello")
    held = warrants()[0]
    headers = proof_headers(
        held, holder_private=HOLDER.private, method="SendMessage", params=params, audience=URL,
        nonce=secrets.token_bytes(16),
    )  # fmt: skip
    proof = read_proof(headers["a2a-warrant-proof"])
    check = TenuoWarrants([ROOT.public])
    bound = bound_to(
        method="SendMessage",
        params=params,
        tenant="",
        audience=URL,
        nonce=proof.nonce,
        made_at=proof.made_at,
    )

    def shown(data: bytes) -> None:
        question = WarrantQuestion(
            chain=data.decode("latin-1"),
            proof=proof,
            tool="a2a.SendMessage",
            arguments=arguments_of(a_call(params=params), URL),
            bound=bound,
        )
        verified = check.verify(question)
        assert verified.ids == (held.id,)

    header = held.header().encode()
    shown(header)
    fuzz([header], shown, allowed=WarrantRefusedError)


def test_proofs():
    good = [
        proof_headers(
            warrants()[0], holder_private=HOLDER.private, method="SendMessage",
            params=a_request("x"), audience=URL, nonce=secrets.token_bytes(16),
        )["a2a-warrant-proof"].encode()
    ]  # fmt: skip

    def read(data: bytes) -> None:
        text = data.decode("latin-1")
        assert read_proof(text).header() == text

    fuzz(good, read, allowed=WireFault)


@pytest.fixture
def record(tmp_path) -> Path:
    async def fill() -> None:
        limits = AuditLimits(head_every_entries=4, rotate_bytes=1500)
        async with FileAudit(tmp_path / "r", KEY.private, limits=limits) as audit:
            for number in range(12):
                await audit.attempt(CallRecord(kind=AuditKind.ATTEMPT, call=f"c-{number}"))

    anyio.run(fill)
    return tmp_path / "r"


def test_lines_and_heads_of_a_record(record):
    lines = [line for path in files_of(record) for line in path.read_bytes().splitlines()]
    fuzz(lines, read_line, allowed=AuditError)
    heads = (record / "heads").read_bytes().splitlines()
    fuzz(heads, lambda data: read_head(data, KEY.public), allowed=AuditError)


def test_a_mutated_record_is_never_whole_and_never_breaks_the_reader(record):
    """A changed file is found; what is cut off behind the last head may be mended, and only that."""
    dice = random.Random(SEED)
    ends_at = time.monotonic() + SECONDS
    for path in [*files_of(record), record / "heads"]:
        good = path.read_bytes()
        for data in mutations([good], dice):
            path.write_bytes(data)
            verdict = verify(record, KEY.public)
            if data != good and path.name != "heads":
                assert not verdict.whole, (SEED, path.name, data)
            try:
                left = recover(record, KEY.public)
            except AuditError:
                left = None
            if left is not None:
                assert left.n == verify_count(record)
            for torn in record.glob("*.torn"):
                torn.unlink()
            path.write_bytes(good)
            if time.monotonic() > ends_at:
                break
        path.write_bytes(good)
    assert verify(record, KEY.public).whole


def verify_count(record: Path) -> int:
    last = files_of(record)[-1].read_bytes().splitlines()[-1]
    return read_line(last).entry.n
