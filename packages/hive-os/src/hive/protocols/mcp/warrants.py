"""A visitor from elsewhere shows a warrant at an endpoint of MCP: its calls and messages are held to it.

The warrant comes in the same headers as at the A2A door, with a proof for the URL of the endpoint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from hive.core.clock import Clock
from hive.core.errors import ConflictError, EngineError, IdentityError
from hive.engines.ports import KeyValue
from hive.protocols.mcp.doormen import SANDBOX_KEY
from hive.protocols.mcp.ports import Doorman, Turned, Visitor
from hive.security.capability.warrant import Warrant

if TYPE_CHECKING:
    from hive_a2a.stages.tenuo_warrants import TenuoWarrants

WARRANT_NONCES: Final = "warrant-nonces"
WARRANT: Final = "a2a-warrant"
PROOF: Final = "a2a-warrant-proof"
AGE_MAX_S: Final = 60
AHEAD_MAX_S: Final = 30


class ChainVerifier(Protocol):
    """Who verifies what is shown, and by which roots."""

    @property
    def roots(self) -> Sequence[bytes]:
        """Return the public keys of those who may mint for this node."""
        ...

    def verify(self, token: str) -> Warrant:
        """Verify a chain. Raises IdentityError."""
        ...


class WarrantDoorman:
    """Lets in whom another doorman lets in, under the warrant that is shown."""

    def __init__(
        self,
        inner: Doorman,
        verifier: ChainVerifier,
        nonces: KeyValue,
        clock: Clock,
        base_url: str,
    ) -> None:
        self._inner = inner
        self._verifier = verifier
        self._nonces = nonces
        self._clock = clock
        self._base_url = base_url.rstrip("/")
        self._check: TenuoWarrants | None = None

    async def identify(
        self, scope: Mapping[str, object], headers: Mapping[str, str]
    ) -> Visitor | Turned:
        """Return who it is, with the warrant that was shown and proved."""
        visitor = await self._inner.identify(scope, headers)
        shown = headers.get(WARRANT, "")
        if isinstance(visitor, Turned) or SANDBOX_KEY in scope:
            return visitor
        if not shown:
            return _no("A proof came without a warrant.") if PROOF in headers else visitor
        warrant = await self._verified(shown, headers.get(PROOF, ""), str(scope.get("path", "")))
        return warrant if isinstance(warrant, Turned) else replace(visitor, warrant=warrant)

    async def _verified(self, token: str, proof_text: str, path: str) -> Warrant | Turned:
        from hive_a2a.faults import WireFault
        from hive_a2a.stages.endpoint_proof import endpoint_question
        from hive_a2a.stages.tenuo_warrants import TenuoWarrants
        from hive_a2a.stages.warrant import WarrantRefusedError, read_proof

        if self._check is None:
            self._check = TenuoWarrants(self._verifier.roots)
        now = self._clock.now().timestamp()
        try:
            proof = read_proof(proof_text)
            if not -AHEAD_MAX_S <= now - proof.made_at <= AGE_MAX_S:
                return _no("The proof is too old, or from the future.")
            question = endpoint_question(token, proof, self._base_url + path)
            holder = self._check.verify(question).holder
            warrant = self._verifier.verify(token)
            left_s = proof.made_at + AGE_MAX_S + AHEAD_MAX_S - now
            name = f"{holder}{proof.nonce.hex()}"
            await self._nonces.create(name, b"1", ttl_s=max(1.0, left_s))
        except WarrantRefusedError as error:
            return _no(error.told)
        except WireFault as fault:
            return _no(fault.message)
        except IdentityError as error:
            return _no(error.what)
        except (ConflictError, EngineError):
            return _no("The proof was shown before.")
        return warrant


def _no(reason: str) -> Turned:
    return Turned(status=403, message=reason)
