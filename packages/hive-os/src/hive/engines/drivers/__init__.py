"""The drivers of both engines; the first row is the default."""

from typing import Final

from hive.core.drivers import DriverRow, Table
from hive.engines.opening import DatabaseDriver, MessagingDriver

_HERE: Final = "hive.engines.drivers"

DATABASES: Final[Table[DatabaseDriver]] = Table(
    port="engines.Database",
    setting="HIVE_DATABASE_URL",
    rows=(
        DriverRow(
            scheme="embedded",
            target=f"{_HERE}.postgresql:EmbeddedPostgresql",
            summary="PostgreSQL with pgvector, run by the node, on its socket only",
        ),
        DriverRow(
            scheme="postgresql",
            target=f"{_HERE}.postgresql:ExternalPostgresql",
            summary="any PostgreSQL >= 15 by URL; `?app_role=` names the role to work as",
        ),
    ),
)

MESSAGINGS: Final[Table[MessagingDriver]] = Table(
    port="engines.Messaging",
    setting="HIVE_MESH_URL",
    rows=(
        DriverRow(
            scheme="embedded",
            target=f"{_HERE}.nats:EmbeddedNats",
            summary="nats-server with JetStream, run by the node, on loopback only",
        ),
        DriverRow(
            scheme="nats",
            target=f"{_HERE}.nats:ExternalNats",
            summary="a NATS server or cluster >= 2.11 with JetStream by URL",
        ),
        DriverRow(
            scheme="memory",
            target=f"{_HERE}.memory:MemoryMessagingDriver",
            summary="in this process only, forgotten at its end; for tests and degraded mode",
        ),
    ),
)
