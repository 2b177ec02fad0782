"""What the writer tells its callers when a line was not written: what, why, what to do."""

from hive.core.errors import EngineError, EngineUnavailableError, EpochLostError, LedgerError
from hive.ledger.batch import ChainHead


def away() -> EngineUnavailableError:
    """Say that the database did not come back in time."""
    return EngineUnavailableError(
        "The ledger's database cannot be reached.",
        why="It did not come back in time.",
        fix="Try again; `hive doctor` tells how the database is.",
    )


def closed() -> LedgerError:
    """Say that the ledger takes no more lines."""
    return LedgerError("The ledger is closed.", why="The node stops.", fix="Start it again.")


def crashed(error: Exception) -> LedgerError:
    """Say that the writer itself failed."""
    return LedgerError(
        "A line of the ledger was not written.",
        why=f"Its writer met {type(error).__name__}.",
        fix="See the node's log.",
    )


def refused(error: EngineError) -> LedgerError:
    """Say that the database answered no."""
    return LedgerError(
        "The database refused a line of the ledger.",
        why=str(error),
        fix="Run `hive audit verify`; see the node's log.",
    )


def epoch_lost(head: ChainHead) -> EpochLostError:
    """Say that another writer took this node's place."""
    return EpochLostError(
        f"This node may no longer append to chain {head.chain}.",
        why="A newer epoch of it was opened on the same database.",
        fix="Stop one of the two nodes, or give one another state folder.",
    )
