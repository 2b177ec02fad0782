"""Which fault of the wire a failure of the node becomes; the table of codes is `hive_a2a.faults`.

Inside, a failure is a `HiveError` and a no is a `Refused`. At the door both become a `WireFault`, which
every binding can say: JSON-RPC by `code`, HTTP by `status`, gRPC by `grpc`.
"""

import logging
from typing import Final

from hive.core.call import Refused
from hive.core.errors import (
    BadInputError,
    EngineTimeoutError,
    EngineUnavailableError,
    HiveError,
    InvalidIdError,
    NotFoundError,
    StateError,
    TooLargeError,
)
from hive_a2a.faults import (
    BUSY,
    INTERNAL,
    REFUSED,
    TASK_NOT_FOUND,
    UNSUPPORTED,
    WIRE_LIMIT,
    FaultKind,
    WireFault,
    invalid,
)

log: Final = logging.getLogger(__name__)


def refused(no: Refused) -> WireFault:
    """Turn the kernel's no into an answer; its detail stays in the ledger."""
    kind = REFUSED if no.retry_after_s is None else BUSY
    return WireFault(kind, no.reason, retry_after_s=no.retry_after_s, metadata={"check": no.check})


def fault_of(error: HiveError, *, state: FaultKind = UNSUPPORTED) -> WireFault:
    """Turn an error into an answer; `state` is what a wrong state means for this method."""
    match error:
        case NotFoundError():
            return WireFault(TASK_NOT_FOUND, "Task not found")
        case StateError():
            return WireFault(state, error.what)
        case TooLargeError():
            return WireFault(WIRE_LIMIT, error.what, status=413)
        case InvalidIdError() | BadInputError():
            return invalid(str(error))
        case EngineUnavailableError() | EngineTimeoutError():
            log.warning("a2a.engine_away", extra={"code": error.code})
            return WireFault(BUSY, "The node cannot reach its records now.", retry_after_s=1.0)
        case _:
            # What broke inside is for the operator; a stranger learns that it was not their fault.
            log.error("a2a.call_failed", extra={"code": error.code}, exc_info=error)
            return WireFault(INTERNAL, f"The node could not do that now ({error.code}).")
