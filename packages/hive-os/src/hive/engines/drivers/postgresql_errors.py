"""asyncpg's errors in our words; values of rows and parameters never come along."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg  # type: ignore[import-untyped]

from hive.core.errors import (
    ConflictError,
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
)

_AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    OSError,
)
_LOST_RACE: Final = (
    asyncpg.UniqueViolationError,
    asyncpg.ExclusionViolationError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
_CLOSED_WORDS: Final = ("closed", "closing", "terminated", "in progress of being", "released back")
_NOT_BEGUN: Final = "cannot switch to state "
# Messages of these classes name tables, columns and rights, not what stands in them.
_TELLABLE_CLASSES: Final = ("42", "28", "3D", "3F", "0A", "53", "P0")


@contextmanager
def translated() -> Iterator[None]:
    """Turn what asyncpg raises inside into one of our errors."""
    try:
        yield
    except TimeoutError as error:
        raise EngineTimeoutError(
            "The database did not answer in time.",
            why="No connection came free, or the statement ran too long.",
            fix="Try again; `hive doctor` shows the load.",
        ) from error
    except _AWAY as error:
        raise _away(error) from error
    except _LOST_RACE as error:
        raise ConflictError(
            "Somebody else changed it first.",
            why=f"PostgreSQL: {_named(error)}.",
            fix="Read again, then decide again.",
        ) from error
    except asyncpg.PostgresError as error:
        raise EngineError(
            "The database refused a statement.", why=f"PostgreSQL: {_named(error)}."
        ) from error
    except asyncpg.InternalClientError as error:
        # asyncpg lost the thread of a connection that died: whether a commit landed is not known.
        raise _away(error) from error
    except asyncpg.InterfaceError as error:
        if any(word in str(error) for word in _CLOSED_WORDS):
            raise _away(error) from error
        raise EngineError(
            "The database driver refused a statement.", why=f"It raised {type(error).__name__}."
        ) from error


def never_sent(error: EngineUnavailableError) -> bool:
    """Tell whether the statement certainly never left this process.

    A server that ends a connection says so first, and asyncpg refuses to begin anything after that word, before
    it writes a byte. Whatever else went wrong may have happened after the statement had run.
    """
    cause = error.__cause__
    return isinstance(cause, asyncpg.InternalClientError) and str(cause).startswith(_NOT_BEGUN)


def _away(error: Exception) -> EngineUnavailableError:
    return EngineUnavailableError(
        "The database cannot be reached now.",
        why=f"{type(error).__name__}.",
        fix="Try again; an embedded server is being started again.",
    )


def _named(error: asyncpg.PostgresError) -> str:
    state = str(getattr(error, "sqlstate", "") or "")
    parts = [type(error).__name__, state]
    if state[:2] in _TELLABLE_CLASSES:
        parts.append(str(getattr(error, "message", "") or ""))
    constraint = getattr(error, "constraint_name", None)
    if constraint:
        parts.append(f"constraint {constraint}")
    return " ".join(filter(None, parts))
