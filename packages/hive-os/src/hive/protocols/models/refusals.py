"""A no in the words of each dialect, so that an unchanged client understands it.

OpenAI's and Anthropic's clients repeat a 408, 409, 429 or 5xx by themselves; `x-should-retry: false` stops them
where repeating cannot help. Google's repeats only where its user asked for it, and nothing stops it then.
"""

import math
import re
from dataclasses import dataclass
from typing import Final

from hive.core.call import Refused
from hive.core.errors import (
    BadInputError,
    EngineError,
    EngineTimeoutError,
    HiveError,
    UntranslatableError,
)
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
    529: "overloaded_error",
}
_OPENAI_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_GEMINI_STATUSES: Final = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_GOOGLE: Final = "type.googleapis.com/google.rpc."
BUDGET_CHECKS: Final = frozenset({"budget"})
NOT_NOW_CHECKS: Final = frozenset({"ledger", "facts"})
WHO_CHECKS: Final = frozenset({"handle", "identity"})
EXHAUSTED_CHECKS: Final = frozenset({"rate", "budget", "limits", "claims", "nonce"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelError:
    """What went wrong, before it is put in a dialect's words.

    `code` is for machines; `param` is the field at fault; `kind` is OpenAI's type where the status does
    not tell it.
    """

    status: int
    code: str
    message: str
    retry_after_s: float | None = None
    param: str = ""
    kind: str = ""

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
        if dialect is Dialect.GEMINI:
            return {"error": self._gemini(message)}
        if dialect is Dialect.MESSAGES:
            kind = _ANTHROPIC_TYPES.get(self.status, "api_error")
            return {
                "type": "error",
                "error": {"type": kind, "message": message, "code": self.code},
            }
        return {"error": self._openai(message)}

    def event(self, dialect: Dialect) -> bytes:
        """Write it as the event that ends a stream which has already begun."""
        match dialect:
            case Dialect.MESSAGES:
                return b"event: error\ndata: " + self.body(dialect) + b"\n\n"
            case Dialect.RESPONSES:
                inner = self._openai(plain_text(self.message))
                # The described event has its fields at the top; the official client raises by `error`.
                event: Json = {
                    "type": "error",
                    "code": self.code,
                    "message": inner["message"],
                    "param": inner["param"],
                    "error": inner,
                    "sequence_number": 0,
                }
                return b"event: error\ndata: " + encode(event) + b"\n\n"
            case Dialect.CHAT | Dialect.GEMINI | Dialect.EMBEDDINGS:
                return b"data: " + self.body(dialect) + b"\n\n"

    def _openai(self, message: str) -> dict[str, Json]:
        kind = self.kind or _OPENAI_TYPES.get(
            self.status, "invalid_request_error" if self.status < 500 else "server_error"
        )
        return {"message": message, "type": kind, "param": self.param or None, "code": self.code}

    def _gemini(self, message: str) -> dict[str, Json]:
        reason = re.sub(r"[^A-Z0-9]+", "_", self.code.upper()).strip("_")
        details: list[Json] = [
            {
                "@type": f"{_GOOGLE}ErrorInfo",
                "reason": reason,
                "domain": "hive",
                "metadata": {"code": self.code},
            }
        ]
        if self.retry_after_s is not None:
            delay_s = max(1, math.ceil(self.retry_after_s))
            details.append({"@type": f"{_GOOGLE}RetryInfo", "retryDelay": f"{delay_s}s"})
        return {
            "code": self.status,
            "message": message,
            "status": _GEMINI_STATUSES.get(
                self.status, "INVALID_ARGUMENT" if self.status < 500 else "INTERNAL"
            ),
            "details": details,
        }


def unknown_model(name: str) -> ModelError:
    """Return the error for a model that the node does not have."""
    return ModelError(
        status=404,
        code="model_not_found",
        message=f"The model {name!r} does not exist here, or you may not use it.",
        param="model",
        kind="invalid_request_error",
    )


def unknown_path(path: str) -> ModelError:
    """Return the error for a path that no model provider of the node serves."""
    return ModelError(
        status=404,
        code="hive.unknown_path",
        message=f"This node's model provider does not serve {path[:100]}.",
    )


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
        kind="insufficient_quota" if no.check in BUDGET_CHECKS else "",
    )


def broken(error: HiveError | TimeoutError) -> ModelError:
    """Turn a provider's failure into a wire error; the provider's address is not told."""
    if isinstance(error, UntranslatableError):
        return ModelError(status=400, code="hive.untranslatable", message=str(error))
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
