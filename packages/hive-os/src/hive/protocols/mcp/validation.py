"""Arguments and results against the schemas of tools. The schema is a stranger's as much as the value.

JSON Schema 2020-12 unless `$schema` says otherwise. Nothing is fetched; a pattern costs linear time, and one
that cannot (it looks around) has a bounded number of attempts; what could multiply is refused beforehand.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hive.core.ids import plain_text
from hive.core.json import Json, encode
from hive.protocols.mcp.schema_cost import SchemaRefusedError, admit_schema, dict_of

if TYPE_CHECKING:
    from jsonschema_rs import FancyRegexOptions, RegexOptions, Validator

SCHEMA_MAX_BYTES: Final = 512 << 10
VALIDATORS_MAX: Final = 2048
PROBLEMS_MAX: Final = 5
PROBLEM_MAX_CHARS: Final = 300
PATTERN_MAX_BYTES: Final = 1 << 20
BACKTRACKS_MAX: Final = 10_000
_HIDDEN: Final = "your value"


@dataclass(frozen=True, slots=True)
class _ReadySchema:
    """A schema made ready, or why it is not used."""

    validator: "Validator | None" = None
    refused: str = ""


class Validators:
    """Compiled schemas by the digest of what they belong to; the least used go first."""

    def __init__(self, *, validators_max: int = VALIDATORS_MAX) -> None:
        self._max = validators_max
        self._compiled: OrderedDict[str, _ReadySchema] = OrderedDict()

    def problem(self, key: str, schema: Mapping[str, Json], value: Json) -> str:
        """Return what is wrong with a value, empty for nothing.

        `key` stands for the schema: the digest of its definition and which of its schemas it is.
        """
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = _compile(schema)
            while len(self._compiled) > self._max:
                self._compiled.popitem(last=False)
        else:
            self._compiled.move_to_end(key)
        if compiled.validator is None:
            return compiled.refused
        try:
            if compiled.validator.is_valid(value):
                return ""
            return _said(compiled.validator, value)
        except (ValueError, RecursionError) as error:
            return f"it cannot be checked: {_clean(str(error))}"


def _compile(schema: Mapping[str, Json]) -> _ReadySchema:
    import jsonschema_rs as rs

    try:
        if len(encode(schema)) > SCHEMA_MAX_BYTES:
            return _ReadySchema(refused="the tool's schema is too large")
        admit_schema(schema)
        linear = rs.RegexOptions(size_limit=PATTERN_MAX_BYTES, dfa_size_limit=PATTERN_MAX_BYTES)
        try:
            return _ReadySchema(_validator(dict_of(schema), linear))
        except rs.ValidationError as error:
            if "regex" not in str(error):
                raise
        return _ReadySchema(
            _validator(
                dict_of(schema),
                rs.FancyRegexOptions(backtrack_limit=BACKTRACKS_MAX, size_limit=PATTERN_MAX_BYTES),
            )
        )
    except SchemaRefusedError as error:
        return _ReadySchema(refused=f"the tool's schema is not used: {error}")
    except (rs.ValidationError, rs.ReferencingError, ValueError, RecursionError) as error:
        first = str(error).partition("\n")[0]
        return _ReadySchema(refused=f"the tool's schema is not valid: {_clean(first)}")


def _validator(
    schema: dict[str, Json], patterns: "RegexOptions | FancyRegexOptions"
) -> "Validator":
    import jsonschema_rs as rs

    return rs.validator_for(schema, offline=True, pattern_options=patterns, mask=_HIDDEN)


def _said(validator: "Validator", value: Json) -> str:
    said: list[str] = []
    for error in validator.iter_errors(value):
        place = "".join(
            f"[{one}]" if isinstance(one, int) else f".{one}" for one in error.instance_path
        )
        where = _clean(place.lstrip("."))
        said.append(f"{where}: {_clean(error.message)}" if where else _clean(error.message))
        if len(said) == PROBLEMS_MAX:
            break
    return "; ".join(said) or "it does not fit the schema"


def _clean(text: str) -> str:
    return plain_text(text[:PROBLEM_MAX_CHARS])
