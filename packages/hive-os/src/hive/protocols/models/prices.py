"""What a token of a model costs, from a dated table; an operator's own file wins over it.

A model without a price is unknown, never free: only what runs on this machine costs nothing.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

from hive.core.errors import ConfigError
from hive.protocols.models.conversation import TokenUsage

FREE_SCHEMES: Final = frozenset({"scripted", "tiny", "replay", "ollama"})
IMAGE_TOKENS: Final = 50_000
LONG_INPUT_TIMES: Final = (2, 1)
LONG_OUTPUT_TIMES: Final = (3, 2)
OWN_FILE_MAX_BYTES: Final = 1 << 20
_DATED: Final = re.compile(
    r"(?:[-@](?:\d{8}|\d{4}-\d\d-\d\d|\d{3,4}|latest|preview(?:-\d\d-\d{2,4})?))?"
)


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one model costs in nano-dollars a token, and its sizes in tokens (0: not known)."""

    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    audio_input: int = 0
    context: int = 0
    output_max: int = 0
    image_tokens: int = IMAGE_TOKENS
    long_above: int = 0

    def nano_usd(
        self, usage: TokenUsage, *, audio: bool = False, hour: bool = False, times: int = 1
    ) -> int:
        """Return what some tokens cost, rounded up.

        Where the request had sound, or kept its cache for an hour, that price counts for all it may apply to.
        """
        plain = max(self.input, self.audio_input) if audio else self.input
        read = self.input if self.cached_input is None else self.cached_input
        write = self._write(hour=hour)
        fresh = max(0, usage.input - usage.cache_read - usage.cache_write)
        asked = fresh * plain + usage.cache_read * read + usage.cache_write * write
        said = usage.output * self.output
        if self.long_above and usage.input > self.long_above:
            asked = _times(asked, LONG_INPUT_TIMES)
            said = _times(said, LONG_OUTPUT_TIMES)
        return times * (asked + said)

    def bound_nano_usd(self, *, tokens_in: int, tokens_out: int, times: int = 1) -> int:
        """Return the most that so many tokens can cost, however they are cached."""
        dearest = max(self.input, self.audio_input, self._write(hour=self.cache_write is not None))
        asked, said = tokens_in * dearest, tokens_out * self.output
        if self.long_above and tokens_in > self.long_above:
            asked = _times(asked, LONG_INPUT_TIMES)
            said = _times(said, LONG_OUTPUT_TIMES)
        return times * (asked + said)

    def output_for(self, nano_usd: int, *, tokens_in: int, times: int = 1) -> int | None:
        """Return how many output tokens an amount buys beside the input; None where they cost nothing."""
        left = nano_usd - self.bound_nano_usd(tokens_in=tokens_in, tokens_out=0, times=times)
        each = self.bound_nano_usd(tokens_in=tokens_in, tokens_out=2, times=times)
        each -= self.bound_nano_usd(tokens_in=tokens_in, tokens_out=0, times=times)
        if each == 0:
            return None if left >= 0 else 0
        return max(0, 2 * left // each)

    def _write(self, *, hour: bool) -> int:
        if hour and self.cache_write is not None:
            return max(2 * self.input, self.cache_write)
        return self.input if self.cache_write is None else self.cache_write


FREE: Final = ModelPrice(input=0, output=0)


class _PriceFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    models: dict[str, ModelPrice]
    date: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Prices by model name, and the date of the table that came with the node."""

    models: Mapping[str, ModelPrice]
    date: str

    def find(self, model: str) -> ModelPrice | None:
        """Return a model's price; a maker's name before it (`openai/gpt-4o`) does not matter."""
        exact = self.models.get(model)
        if exact is not None:
            return exact
        name = model.rpartition("/")[2]
        known = self.models.get(name)
        if known is not None:
            return known
        fits = (one for one in self.models if name.startswith(one))
        for one in sorted(fits, key=len, reverse=True):
            if _DATED.fullmatch(name, len(one)):
                return self.models[one]
        return None


def load_prices(own: str = "") -> PriceTable:
    """Read the table, and over it the operator's own file.

    Raises:
        ConfigError: the operator's file cannot be read.

    """
    table = _read(files("hive.protocols.models").joinpath("prices.toml").read_text("utf-8"))
    if not own:
        return PriceTable(models=table.models, date=table.date)
    try:
        path = Path(own)
        if path.stat().st_size > OWN_FILE_MAX_BYTES:
            raise _unreadable(own, f"It is over {OWN_FILE_MAX_BYTES} bytes.")
        mine = _read(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(own, str(error)) from error
    return PriceTable(models={**table.models, **mine.models}, date=table.date)


def _read(text: str) -> _PriceFile:
    found = msgspec.convert(tomllib.loads(text), _PriceFile)
    wrong = [name for name, price in found.models.items() if _negative(price)]
    if wrong:
        message = f"{wrong[0]!r} has a number below zero"
        raise ValueError(message)
    return found


def _negative(price: ModelPrice) -> bool:
    return any((getattr(price, name) or 0) < 0 for name in price.__struct_fields__)


def _times(amount: int, ratio: tuple[int, int]) -> int:
    return -(-amount * ratio[0] // ratio[1])


def _unreadable(own: str, why: str) -> ConfigError:
    return ConfigError(
        "The prices of models cannot be read.",
        why=f"HIVE_MODEL_PRICES names {own}: {why}",
        fix='Write [models] and a line such as "my-model" = { input = 150, output = 600 }.',
    )
