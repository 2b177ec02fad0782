"""nats-py's errors in our words; what a message held never comes along."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import nats.errors
import nats.js.errors

from hive.core.errors import (
    ConflictError,
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    NoResponderError,
    TooLargeError,
)

WRONG_LAST_SEQUENCE: Final = 10071
STREAM_NAME_IN_USE: Final = 10058


@contextmanager
def translated() -> Iterator[None]:
    """Turn what nats-py raises inside into one of our errors."""
    try:
        yield
    except nats.errors.NoRespondersError as error:
        raise NoResponderError(
            "Nobody listens on that subject.",
            why="The server knows no subscription that matches.",
            fix="Start the agent or node that should answer.",
        ) from error
    except nats.errors.MaxPayloadError as error:
        raise TooLargeError(
            "A message is larger than the bus allows.",
            why="The server's max_payload is smaller.",
            fix="Send a reference to the content instead.",
        ) from error
    except nats.js.errors.APIError as error:
        raise _refused(error) from error
    except (nats.errors.TimeoutError, TimeoutError) as error:
        raise EngineTimeoutError(
            "The bus did not answer in time.",
            why="Somebody listens, but no answer came.",
            fix="Try again, or allow more time.",
        ) from error
    except (nats.errors.Error, OSError) as error:
        raise away(type(error).__name__) from error


def _refused(error: nats.js.errors.APIError) -> EngineError:
    if error.err_code == WRONG_LAST_SEQUENCE:
        return ConflictError(
            "Somebody else changed it first.",
            why="The entry has another revision.",
            fix="Read again, then decide again.",
        )
    if error.code == 503:
        return away("JetStream is not ready")
    return EngineError(
        "JetStream refused a request.", why=f"{error.description} (code {error.err_code})."
    )


def away(why: str) -> EngineUnavailableError:
    """Return the error of a bus that is away."""
    return EngineUnavailableError(
        "The bus cannot be reached now.",
        why=f"{why}.",
        fix="Try again; an embedded server is being started again.",
    )
