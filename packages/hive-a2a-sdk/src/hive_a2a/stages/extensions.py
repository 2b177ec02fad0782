"""A card that requires an extension means it: a call that did not activate it is not answered (1.0, 4.6).

The official server maps the error of this case but never raises it.
"""

from collections.abc import Iterable

from hive_a2a.call import Proto, WireCall
from hive_a2a.faults import EXTENSION, WireFault
from hive_a2a.ports import Stage


def required_extensions(card: Proto) -> tuple[str, ...]:
    """Return the URIs of the extensions that a card requires, in its order."""
    return tuple(one.uri for one in card.capabilities.extensions if one.required)


class RequiredExtensions:
    """The stage: refuses a call that lacks one.

    `met_by_seal` are URIs that a sealed request has met by being sealed, whatever its headers say.
    """

    def __init__(self, uris: Iterable[str], *, met_by_seal: Iterable[str] = ()) -> None:
        self._required = frozenset(uris)
        self._met_by_seal = frozenset(met_by_seal)

    def admit(self, call: WireCall) -> None:
        """Let a call pass that activates every required extension.

        Raises:
            WireFault: -32008, naming those that lack.

        """
        if not self._required:
            return
        met = call.extensions | self._met_by_seal if call.sealed else call.extensions
        lacking = sorted(self._required - met)
        if lacking:
            raise WireFault(
                EXTENSION,
                f"This agent requires extensions that the call did not activate: {', '.join(lacking)}.",
                metadata={"check": str(Stage.EXTENSIONS), "extensions": ",".join(lacking)},
            )
