"""An Open Policy Agent server: it has rules of its own, of the same form, and is asked for the same document.

Its REST API takes a function that fails for "no" unless it is told otherwise, so it is told. A document that is not
defined there is no answer.
"""

from typing import Final

import msgspec

from hive.core.errors import PolicyError
from hive.security.policy.bundle import Bundle
from hive.security.policy.drivers.asked_server import AskedServer
from hive.security.policy.ports import CompiledPolicy, Explanation, TrialReport

DECISION_PATH: Final = "/v1/data/hive/policy/decision?strict-builtin-errors=true&provenance=true"


class _Revision(msgspec.Struct, frozen=True):
    revision: str = ""


class _Provenance(msgspec.Struct, frozen=True):
    revision: str = ""
    bundles: dict[str, _Revision] = {}


class _OpaAnswer(msgspec.Struct, frozen=True):
    result: msgspec.Raw = msgspec.Raw(b"")
    provenance: _Provenance = _Provenance()


class OpaDriver:
    """Asks one server."""

    takes_bundle = False

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._server = AskedServer(url.partition(":")[2], timeout_s=timeout_s)

    async def trial(self, bundle: Bundle) -> TrialReport:
        """Say that there is nothing to try here."""
        del bundle
        return TrialReport(
            problems=("The rules live in the OPA server: load and test them there.",)
        )

    async def compile(self, bundle: Bundle) -> CompiledPolicy:
        """Return the server's rules; whether it has any shows when it is asked."""
        del bundle
        return OpaPolicy(self._server)

    async def explain(self, bundle: Bundle, question: bytes) -> Explanation:
        """Answer one question; which lines took part is not told by the server in one form."""
        del bundle
        return Explanation(document=await OpaPolicy(self._server).ask("", question), lines={})

    async def aclose(self) -> None:
        """End the connections."""
        await self._server.aclose()


class OpaPolicy:
    """The rules of the server; `version` follows what it says of its bundles."""

    def __init__(self, server: AskedServer) -> None:
        self._server = server
        self.version = "opa"

    def reads_arguments(self, verb: str) -> bool:
        """Tell whether the server is sent the arguments of such calls."""
        return verb in self._server.argued

    async def ask(self, verb: str, question: bytes, target: str = "") -> bytes:
        """Return the decision document. Raises EngineError, PolicyError."""
        del verb, target
        body = await self._server.post(DECISION_PATH, b'{"input":' + question + b"}")
        try:
            answer = msgspec.json.decode(body, type=_OpaAnswer)
        except msgspec.MsgspecError as error:
            raise PolicyError(
                "The policy server's answer cannot be read.", why=str(error)
            ) from error
        if not bytes(answer.result):
            raise PolicyError("The policy has no answer.", why="The decision is undefined there.")
        revisions = [
            f"{name}@{one.revision}"
            for name, one in sorted(answer.provenance.bundles.items())
            if one.revision
        ]
        self.version = "opa:" + "+".join(revisions) if revisions else "opa"
        return bytes(answer.result)
