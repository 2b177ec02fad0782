"""Trust a card by its certificate: an X.509-SVID whose chain leads to a trust domain's bundle.

The chain comes in the signature's header (`x5c`), and only says what to check: the leaf must be valid
now, lead to the bundle, carry exactly the SPIFFE id that was expected, and hold the key that signed.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from hive_a2a.cards.errors import CardError, CardFault, not_taken
from hive_a2a.cards.jwk import CardKey, card_key_of
from hive_a2a.cards.signature import CardSignature
from hive_a2a.cards.trust import PeerPin, TrustStore
from hive_a2a.cards.verify import (
    CardVerdict,
    PresentedCard,
    TrustedBy,
    require_signatures,
    vouched,
)
from hive_a2a.clock import MachineClock, WallClock

Bundle: TypeAlias = Callable[[], Sequence[x509.Certificate]]
"""Return the roots of the trust domain as they are now: a bundle rotates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiffeBundle:
    """Trust cards that the workload with this SPIFFE id signed with the key of its SVID."""

    bundle: Bundle
    spiffe_id: str
    store: TrustStore | None = None
    clock: WallClock = field(default_factory=MachineClock)

    async def gather(self, signed: PresentedCard) -> tuple[CardKey, ...]:
        """Return nothing: keys come with their certificates."""
        return ()

    def judge(
        self, signed: PresentedCard, found: tuple[CardKey, ...], pin: PeerPin | None
    ) -> CardVerdict:
        """Take the card where a certified key of that workload signed it."""
        require_signatures(signed, pin)
        keys: list[CardKey] = []
        refusal = _uncertified("None of its signatures comes with a certificate.")
        for signature in signed.signatures:
            if signature.chain:
                try:
                    keys.append(self._certified(signature))
                except CardError as error:
                    refusal = error
        verdict = vouched(signed, keys, TrustedBy.SPIFFE, spiffe_id=self.spiffe_id)
        if verdict is None:
            raise refusal
        return verdict

    def _certified(self, signature: CardSignature) -> CardKey:
        try:
            leaf, *others = [_certificate(one) for one in signature.chain]
            roots = list(self.bundle())
            verifier = (
                PolicyBuilder()
                .store(Store(roots))
                .time(self.clock.now().replace(tzinfo=None))
                .extension_policies(
                    ca_policy=ExtensionPolicy.webpki_defaults_ca(),
                    ee_policy=ExtensionPolicy.permit_all().require_present(
                        x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
                    ),
                )
                .build_client_verifier()
            )
            verifier.verify(leaf, others)
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            ids = names.get_values_for_type(x509.UniformResourceIdentifier)
            usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
            public = leaf.public_key()
        except (
            VerificationError,
            ValueError,
            UnsupportedAlgorithm,
            x509.ExtensionNotFound,
            x509.DuplicateExtension,
            x509.InvalidVersion,
            x509.UnsupportedGeneralNameType,
        ):
            raise _uncertified("Its certificate does not lead to the bundle, or not now.") from None
        if ids != [self.spiffe_id]:
            raise _uncertified("Its certificate is another workload's.")
        if not usage.digital_signature or usage.key_cert_sign or _is_authority(leaf):
            raise _uncertified("Its certificate is not for signing documents.")
        return card_key_of(public, signature.kid)


def _is_authority(leaf: x509.Certificate) -> bool:
    try:
        return leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _certificate(text: str) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _uncertified(why: str) -> CardError:
    return not_taken(
        CardFault.CERTIFICATE,
        why,
        "Check the trust domain's bundle and the SPIFFE id that is expected of this agent.",
    )
