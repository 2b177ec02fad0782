"""A no in the words of each dialect, so that an unchanged client understands it.

The official clients repeat a 408, 409, 429 or 5xx by themselves; `x-should-retry: false` stops them where
repeating cannot help.
"""

import math
from dataclasses import dataclass
from typing import Final

from hive.core.call import Refused
from hive.core.errors import BadInputError, EngineError, EngineTimeoutError, HiveError
from hive.core.ids import plain_text
from hive.core.json import Json, encode
from hive.protocols.models.ports import Dialect, ModelHead

_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "request_too_large",
    415: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_OPENAI_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
NOT_NOW_CHECKS: Final = frozenset({"ledger", "facts"})
WHO_CHECKS: Final = frozenset({"handle", "identity"})
EXHAUSTED_CHECKS: Final = frozenset({"rate", "budget", "limits", "claims", "nonce"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelError:
    """What went wrong, before it is put in a dialect's words; `code` is for machines."""

    status: int
    code: str
    message: str
    retry_after_s: float | None = None

    def head(self, *, length_bytes: int) -> ModelHead:
        """Return the headers that go with it."""
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(length_bytes)),
            ("hive-reason", self.code),
        ]
        if self.retry_after_s is not None:
            headers.append(("retry-after", str(max(1, math.ceil(self.retry_after_s)))))
        else:
            headers.append(("x-should-retry", "false"))
        return ModelHead(status=self.status, headers=tuple(headers))

    def body(self, dialect: Dialect | None) -> bytes:
        """Write it as the dialect's own error document."""
        return encode(self.document(dialect))

    def document(self, dialect: Dialect | None) -> Json:
        """Return the dialect's own error document."""
        message = plain_text(self.message)
        if dialect is Dialect.MESSAGES:
            kind = _ANTHROPIC_TYPES.get(self.status, "api_error")
            return {
                "type": "error",
                "error": {"type": kind, "message": message, "code": self.code},
            }
        kind = _OPENAI_TYPES.get(
            self.status, "invalid_request_error" if self.status < 500 else "server_error"
        )
        return {"error": {"message": message, "type": kind, "param": None, "code": self.code}}

    def event(self, dialect: Dialect) -> bytes:
        """Write it as the event that ends a stream which has already begun."""
        match dialect:
            case Dialect.MESSAGES:
                return b"event: error\ndata: " + self.body(dialect) + b"\n\n"
            case Dialect.RESPONSES:
                event: Json = {
                    "type": "error",
                    "code": self.code,
                    "message": plain_text(self.message),
                    "param": None,
                    "sequence_number": 0,
                }
                return b"event: error\ndata: " + encode(event) + b"\n\n"
            case Dialect.CHAT:
                return b"data: " + self.body(dialect) + b"\n\n"


def refused(no: Refused) -> ModelError:
    """Turn the kernel's no into a wire error: who (401), too much (429), may not (403)."""
    if no.check in WHO_CHECKS:
        status = 401
    elif no.retry_after_s is not None or no.check in EXHAUSTED_CHECKS:
        status = 429
    elif no.check in NOT_NOW_CHECKS:
        status = 503
    else:
        status = 403
    return ModelError(
        status=status,
        code=f"hive.{no.check}",
        message=f"Hive refused this call ({no.check}): {no.reason}",
        retry_after_s=no.retry_after_s,
    )


def broken(error: HiveError | TimeoutError) -> ModelError:
    """Turn a provider's failure into a wire error; the provider's address is not told."""
    if isinstance(error, HiveError) and not isinstance(error, EngineError | BadInputError):
        return ModelError(
            status=503, code=f"hive.{error.code}", message=f"The node cannot do that now: {error}"
        )
    if isinstance(error, EngineTimeoutError | TimeoutError):
        return ModelError(
            status=504,
            code="hive.upstream_timeout",
            message="The model provider did not answer in time.",
        )
    return ModelError(
        status=502,
        code="hive.upstream_unavailable",
        message="The model provider cannot be reached now.",
    )
