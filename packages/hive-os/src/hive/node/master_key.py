"""The master key as text: 32 bytes in base64, in a setting, a file, or the keyring of the system.

`HIVE_MASTER_KEY=keyring:` keeps it under the service `hive`; `keyring:NAME` under another, for several nodes
of one user.
"""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hive.core.errors import ConfigError, MissingExtraError

KEY_BYTES: Final = 32
SCHEME: Final = "keyring:"
SERVICE: Final = "hive"
USER: Final = "master-key"


def master_key_of(text: str) -> bytes:
    """Read a master key.

    Raises:
        ConfigError: it is not 32 bytes in base64.

    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            "HIVE_MASTER_KEY is not a key.",
            why="It must be 32 bytes in base64.",
            fix="Make one: head -c 32 /dev/urandom | base64",
        )
    return key


def read_master_key(file: Path) -> bytes:
    """Read a master key from a file.

    Raises:
        ConfigError: the file cannot be read, or holds no key.

    """
    try:
        return master_key_of(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "The file of the new master key cannot be read.",
            why=f"{file}: {type(error).__name__}.",
            fix=f"head -c 32 /dev/urandom | base64 > {file}; chmod 600 {file}",
        ) from error


def is_keyring(setting: str) -> bool:
    """Tell whether a setting names the keyring of the system."""
    return setting.startswith(SCHEME)


def kept_in_keyring(setting: str, make: Callable[[], str]) -> str:
    """Return the key in the system's keyring, made at the first time.

    Raises:
        MissingExtraError: the package for it is not installed.
        ConfigError: this system has no keyring, or it is locked.

    """
    found = _asked("get_password", _service(setting), USER)
    if found:
        return str(found)
    fresh = make()
    put_in_keyring(setting, fresh)
    return fresh


def put_in_keyring(setting: str, text: str) -> None:
    """Keep a key in the system's keyring.

    Raises:
        MissingExtraError: the package for it is not installed.
        ConfigError: this system has no keyring, or it is locked.

    """
    _asked("set_password", _service(setting), USER, text)


def _asked(verb: str, *arguments: str) -> object:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "HIVE_MASTER_KEY=keyring: needs a package that is not installed.",
            why=f"The module {error.name!r} is missing.",
            fix="pip install 'hive-os[keyring]'",
        ) from error
    ask: Any = getattr(keyring, verb)
    try:
        return ask(*arguments)
    except (KeyringError, RuntimeError, OSError) as error:
        raise ConfigError(
            "The keyring of this system cannot be used.",
            why=f"It answered {type(error).__name__}.",
            fix="Unlock it, or keep the key in a file: HIVE_MASTER_KEY_FILE=/path",
        ) from error


def _service(setting: str) -> str:
    return setting.removeprefix(SCHEME).strip() or SERVICE
