"""What every layer stands on: PostgreSQL and NATS, embedded as supervised children or named by URL.

`open_engines` starts both side by side; `open_database` and `open_messaging` start one. Layers speak to
the Protocols of `hive.engines.ports` alone. Schema files are loaded with `load_migrations` and handed to
whoever opens the database.

What is trusted: the binaries that were found (their version and SHA-256 are shown by `hive doctor`). What
is not: anything that arrives over the bus.
"""

from hive.engines.migrations import Migration, load_migrations
from hive.engines.open import (
    Engines,
    open_database,
    open_engines,
    open_messaging,
    restore_database,
)
from hive.engines.opening import BackupSummary

__all__ = [
    "BackupSummary",
    "Engines",
    "Migration",
    "load_migrations",
    "open_database",
    "open_engines",
    "open_messaging",
    "restore_database",
]
