"""The guard of a node: the scanner that its setting names, and the values that may never leave."""

import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from hive.core.clock import Clock
from hive.core.errors import HiveError
from hive.core.json import Json, decode
from hive.core.settings import Settings
from hive.security.guardrails import KnownValues, Scanner
from hive.security.guardrails.checksums import looks_random
from hive.security.vault import Vault

if TYPE_CHECKING:
    from hive.node.kernel_parts import Ground
    from hive.node.state import StateFolder

VALUES_KEPT_S: Final = 60.0
TOKEN_MIN_CHARS: Final = 16
TOKEN_MIN_LETTERS: Final = 6


@asynccontextmanager
async def opened_scanner(settings: Settings, clock: Clock) -> AsyncIterator[Scanner]:
    """Open the scanner of the setting.

    Raises:
        ConfigError: its URL cannot be used.

    """
    from hive.security.guardrails.drivers import SCANNERS

    driver = SCANNERS.load(settings.guard_url)
    scanner = driver(settings.guard_url, timeout_s=settings.guard_timeout_s, clock=clock)
    try:
        yield scanner
    finally:
        with anyio.move_on_after(5, shield=True):
            await scanner.aclose()


class GuardedValues:
    """The values that may never leave: the vault's, and the node's own keys and tokens.

    What the vault holds is read again when it changed here, and every minute, for a change by somebody else.
    """

    def __init__(
        self, *, vault: Vault, settings: Settings, master_key: bytes, operator: str, clock: Clock
    ) -> None:
        self._vault = vault
        self._clock = clock
        own = {
            "the operator's token": operator,
            "the metrics token": settings.metrics_token.reveal(),
            "the model key": settings.model_key.reveal(),
            "the master key": base64.b64encode(master_key).decode(),
            "the master key in hexadecimal": master_key.hex(),
        }
        self._own = {name: one for name, one in own.items() if one}
        self._known = KnownValues(self._own)
        self._revision = -1
        self._until = 0.0
        self._lock = anyio.Lock()

    async def current(self) -> KnownValues:
        """Return the values as they are now.

        Raises:
            HiveError: the vault cannot be read, and was not for a while; the call is refused.

        """
        if self._revision == Vault.revision and self._clock.monotonic() < self._until:
            return self._known
        async with self._lock:
            revision = Vault.revision
            if self._revision != revision or self._clock.monotonic() >= self._until:
                await self._read(revision)
        return self._known

    async def _read(self, revision: int) -> None:
        try:
            kept = await self._vault.values()
        except HiveError:
            # Values read before still hold for as long as nobody changed them here.
            if self._revision != revision:
                raise
            self._until = self._clock.monotonic() + VALUES_KEPT_S / 10
            return
        named = {f"the secret {name}": one.reveal() for name, one in kept.items()}
        inside = {
            f"{name}, {number}": one
            for name, text in named.items()
            for number, one in enumerate(_tokens_in(text))
        }
        self._known = KnownValues({**self._own, **named, **inside})
        self._revision, self._until = revision, self._clock.monotonic() + VALUES_KEPT_S


def _tokens_in(text: str) -> list[str]:
    """Return the tokens within a secret that is a document: of a login, say."""
    try:
        document = decode(text) if text.lstrip().startswith(("{", "[")) else None
    except ValueError:
        return []
    return [one for one in _leaves(document) if _is_token(one)]


def _is_token(text: str) -> bool:
    """Tell a token from the addresses, dates and names that stand beside it."""
    plain = len(text) >= TOKEN_MIN_CHARS and not set(text) & set(" @\n") and "://" not in text
    return plain and looks_random(text) and sum(map(str.isalpha, text)) >= TOKEN_MIN_LETTERS


def _leaves(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _leaves(one)


def secrets_of(ground: "Ground", state: "StateFolder") -> GuardedValues:
    """Return the values that may never leave a node."""
    return GuardedValues(
        vault=Vault(
            database=ground.database,
            master_key=state.master_key,
            clock=ground.clock,
            randomness=ground.randomness,
        ),
        settings=ground.settings,
        master_key=state.master_key,
        operator=state.operator_token.reveal(),
        clock=ground.clock,
    )
