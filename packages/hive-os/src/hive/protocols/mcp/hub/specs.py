"""A server's spec on its way into the database and out: checked when it is added, and never with a secret in it."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from hive.core.errors import BadInputError, InvalidIdError, LedgerError
from hive.core.grant import PROVIDER
from hive.protocols.mcp.places import server_address
from hive.protocols.mcp.ports import ServerSpec, TransportKind

NAME_MAX_CHARS: Final = 40
ARGV_MAX: Final = 64
VARIABLES_MAX: Final = 64
TEXT_MAX_CHARS: Final = 4096
TIMEOUT_MAX_S: Final = 3600.0
RESULT_MAX_BYTES: Final = 64 << 20
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]|_(?!_)){0,38}[a-z0-9]|[a-z0-9]")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_SECRET: Final = re.compile(r"(?P<before>[!-~]* ?)secret:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,99})")
_TELLS_A_SECRET: Final = re.compile(
    r"(?:^|[_-])(?:auth|authorization|cookie|key|apikey|token|secret|password|credentials?)(?:$|[_-])",
    re.IGNORECASE,
)
_OURS: Final = frozenset(
    {
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
        "accept",
        "accept-encoding",
        "mcp-session-id",
        "mcp-protocol-version",
        "mcp-method",
        "mcp-name",
    }
)


def checked_spec(spec: ServerSpec) -> ServerSpec:
    """Return a spec that can be kept.

    Raises:
        InvalidIdError: the name cannot be one.
        BadInputError: a part of it cannot be used, or holds a secret.
        ConfigError: its URL is none.

    """
    server_name(spec.name)
    if spec.transport is TransportKind.STDIO:
        if not spec.argv and not spec.package:
            raise _unfit("It says neither which program to run nor from which package.")
        if spec.url:
            raise _unfit("A program has no URL.")
    else:
        server_address(spec.url)
        if spec.argv or spec.package or spec.environment:
            raise _unfit("A server at a URL has no program and no environment.")
    _check_sizes(spec)
    _check_names(spec.environment, _VARIABLE, "variable")
    _check_names(spec.headers, _HEADER, "header")
    taken = sorted(name for name in spec.headers if name.lower() in _OURS)
    if taken:
        raise _unfit(f"The header {taken[0]!r} is set by the node.")
    return spec


def server_name(text: str) -> str:
    """Return a server's name where it can be one.

    Raises:
        InvalidIdError: it cannot.

    """
    if text == PROVIDER:
        raise InvalidIdError(
            "That name cannot be a tool server's.",
            why="It stands for what the providers of models run on their side.",
            fix="Choose another, such as files or issue-tracker.",
        )
    if len(text) > NAME_MAX_CHARS or not _NAME.fullmatch(text):
        raise InvalidIdError(
            "That name cannot be a tool server's.",
            why=f"It has 1 to {NAME_MAX_CHARS} of a-z, 0-9, - and single _, with a letter or digit at both ends.",
            fix="Choose another, such as files or issue-tracker.",
        )
    return text


def secret_in(value: str) -> tuple[str, str] | None:
    """Return what stands before a reference to the vault, and its name; None where there is none."""
    found = _SECRET.fullmatch(value)
    return (found["before"], found["name"]) if found else None


def write_spec(spec: ServerSpec) -> str:
    """Write a spec."""
    return msgspec.json.encode(spec).decode()


def read_spec(text: str) -> ServerSpec:
    """Read a spec.

    Raises:
        LedgerError: the row was changed, or another release wrote it.

    """
    try:
        return msgspec.json.decode(text, type=ServerSpec)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise LedgerError(
            "A tool server in the database cannot be read.", why=str(error)
        ) from error


def _check_sizes(spec: ServerSpec) -> None:
    texts = [*spec.argv, spec.package, *spec.environment.values(), *spec.headers.values()]
    if len(spec.argv) > ARGV_MAX or any(len(text) > TEXT_MAX_CHARS for text in texts):
        raise _unfit(f"It has more than {ARGV_MAX} words, or one over {TEXT_MAX_CHARS} characters.")
    if len(spec.environment) > VARIABLES_MAX or len(spec.headers) > VARIABLES_MAX:
        raise _unfit(f"It has more than {VARIABLES_MAX} variables or headers.")
    if any("\0" in text or "\n" in text for text in texts):
        raise _unfit("A text of it has a line break or a null character.")
    if not 0 < spec.timeout_s <= TIMEOUT_MAX_S or not 0 < spec.result_max_bytes <= RESULT_MAX_BYTES:
        raise _unfit(f"It waits up to {TIMEOUT_MAX_S:g} s for at most {RESULT_MAX_BYTES} bytes.")


def _check_names(values: Mapping[str, str], form: re.Pattern[str], what: str) -> None:
    for name, value in values.items():
        if not form.fullmatch(name):
            raise _unfit(f"{name[:40]!r} is no name of a {what}.")
        if _TELLS_A_SECRET.search(name) and value and secret_in(value) is None:
            raise BadInputError(
                "That would keep a secret in the open.",
                why=f"The {what} {name[:40]!r} has a value that stands there as it is.",
                fix="hive secret set NAME     then write the value as secret:NAME",
            )


def _unfit(why: str) -> BadInputError:
    return BadInputError("The tool server cannot be added.", why=why)
