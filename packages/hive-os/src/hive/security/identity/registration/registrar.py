"""The book of foreign nodes: who is known here, kept in the database and heard by every node of it.

An answer is judged from cheap to dear: the code of the challenge, its time, whose it is, one hash for the work, one
signature, then the TPM. Nothing of it is remembered before all of that holds, and then the challenge is used up in the
same transaction that makes the node known.
"""

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

import anyio
from anyio import to_thread

from hive.core.clock import Clock
from hive.core.errors import ConfigError, ConflictError, EngineError, NotFoundError
from hive.core.ids import printable
from hive.engines.ports import Database, Row
from hive.security.identity.registration.answers import RegistrationAnswer, read_answer
from hive.security.identity.registration.challenges import (
    BITS_MAX,
    Challenges,
    RegistrationChallenge,
    refused,
)
from hive.security.identity.registration.machines import machine_that_vouches, read_machines

log: Final = logging.getLogger(__name__)
NODES_MAX: Final = 10_000
WATCH_PAUSE_S: Final = 0.5
_CHANGED: Final = "hive_nodes"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignNode:
    """A node that is known: its public keys, and what its registration cost. `machine` is the id of its TPM's key."""

    node: str
    signing: bytes
    sealing: bytes
    bits: int
    machine: str
    machine_name: str
    at: datetime
    by: str


class NodeRegistrar:
    """Makes challenges, judges answers, and knows who is known."""

    def __init__(
        self,
        *,
        database: Database,
        challenges: Challenges,
        clock: Clock,
        host: str,
        bits: int = 0,
        machines: str = "",
    ) -> None:
        if not 0 <= bits <= BITS_MAX:
            raise ConfigError(
                "HIVE_NODE_WORK_BITS cannot be used.",
                why=f"It is 0 to {BITS_MAX}: each bit doubles the work.",
                fix="20 takes a second, 24 a quarter of a minute.",
            )
        self._database = database
        self._challenges = challenges
        self._clock = clock
        self._host = host
        self._bits = bits
        self._machines = machines
        self._known: dict[str, ForeignNode] = {}

    def get(self, node: str) -> ForeignNode | None:
        """Return a node that is known."""
        return self._known.get(node)

    def all(self) -> Sequence[ForeignNode]:
        """Return every node that is known, by id."""
        return sorted(self._known.values(), key=lambda one: one.node)

    def challenge(self, node: str) -> RegistrationChallenge:
        """Make a challenge for a node, as dear as the settings say. Raises InvalidIdError."""
        return self._challenges.make(node, bits=self._bits, tpm=bool(self._machines))

    async def register(self, text: str, *, by: str) -> ForeignNode:
        """Make the node of an answer known.

        Raises:
            BadInputError: it is no answer.
            IdentityError: something in it does not hold.
            ConflictError: the challenge was used, or the node or its machine is known already.
            ConfigError: the file of machines cannot be used.

        """
        answer = read_answer(text)
        challenge = self._judged(answer)
        machine, name = "", ""
        if self._machines:
            machines = await to_thread.run_sync(read_machines, self._machines)
            found = machine_that_vouches(answer, machines)
            machine, name = found.id, found.name
        if len(self._known) >= NODES_MAX:
            raise refused(f"{NODES_MAX} nodes are known.")
        known = ForeignNode(
            node=answer.node,
            signing=answer.signing,
            sealing=answer.sealing,
            bits=challenge.bits,
            machine=machine,
            machine_name=name,
            at=self._clock.now(),
            by=by,
        )
        await self._keep(known, challenge)
        self._known[known.node] = known
        return known

    async def remove(self, node: str) -> ForeignNode:
        """Know a node no longer, from this moment. Raises NotFoundError."""
        gone = self._known.pop(node, None)
        async with self._database.transaction() as transaction:
            rows = await transaction.fetch(
                "DELETE FROM node_peer WHERE node = $1 RETURNING *", node
            )
            await transaction.execute(f"NOTIFY {_CHANGED}")
        if gone is None and not rows:
            raise NotFoundError(
                f"No node {printable(node)} is known.", fix="hive identity node list"
            )
        return gone or _from_row(rows[0])

    async def load(self) -> None:
        """Read who is known."""
        rows = await self._database.fetch("SELECT * FROM node_peer LIMIT $1", NODES_MAX)
        self._known = {one.node: one for one in map(_from_row, rows)}

    async def watch(self) -> None:
        """Follow what other nodes of this database do, until cancelled."""
        while True:
            try:
                async with self._database.listen(_CHANGED) as changes:
                    await self.load()
                    async for _ in changes:
                        await self.load()
            except EngineError as error:
                log.warning("registration.not_followed", extra={"error": error.what})
                await anyio.sleep(WATCH_PAUSE_S)

    def _judged(self, answer: RegistrationAnswer) -> RegistrationChallenge:
        challenge = self._challenges.own(answer.challenge)
        if challenge.node != answer.node or answer.node == self._host:
            raise refused("The challenge is another node's.")
        if challenge.bits < self._bits or (self._machines and not challenge.tpm):
            raise refused("The challenge is from a time when less was asked.")
        if answer.zero_bits() < challenge.bits:
            raise refused("The work is not done.")
        if not answer.holds_its_key():
            raise refused("The node's own key did not sign the answer.")
        return challenge

    async def _keep(self, known: ForeignNode, challenge: RegistrationChallenge) -> None:
        async with self._database.transaction() as transaction:
            await transaction.execute(
                "DELETE FROM node_challenge_used WHERE ends_at < $1", self._clock.now()
            )
            await _once(
                transaction.execute(
                    "INSERT INTO node_challenge_used (nonce, ends_at) VALUES ($1, $2)",
                    challenge.nonce,
                    datetime.fromtimestamp(challenge.ends_at, UTC),
                ),
                "The challenge was used.",
            )
            await _once(
                transaction.execute(
                    "INSERT INTO node_peer"
                    " (node, signing, sealing, bits, machine, machine_name, at, by)"
                    " VALUES ($1, $2, $3, $4, nullif($5, ''), $6, $7, $8)",
                    known.node,
                    known.signing,
                    known.sealing,
                    known.bits,
                    known.machine,
                    known.machine_name,
                    known.at,
                    known.by,
                ),
                "The node is known, or its machine vouches for another one.",
            )
            await transaction.execute(f"NOTIFY {_CHANGED}")


async def _once(statement: Awaitable[str], why: str) -> None:
    try:
        await statement
    except ConflictError as error:
        raise ConflictError("The node is not registered.", why=why) from error


def _from_row(row: Row) -> ForeignNode:
    return ForeignNode(
        node=cast("str", row["node"]),
        signing=cast("bytes", row["signing"]),
        sealing=cast("bytes", row["sealing"]),
        bits=cast("int", row["bits"]),
        machine=cast("str | None", row["machine"]) or "",
        machine_name=cast("str", row["machine_name"]),
        at=cast("datetime", row["at"]),
        by=cast("str", row["by"]),
    )
