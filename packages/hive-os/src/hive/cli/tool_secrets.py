"""Which values of a tool server look like keys, and under which names they go into the vault.

A guess on purpose on the careful side: a plain value that goes into the vault costs nothing, a key in a list
that everybody reads does.
"""

import re
from typing import Final
from urllib.parse import parse_qsl, urlsplit

REFERENCE: Final = "secret:"
_TELLING: Final = re.compile(
    r"(?i)(api[-_]?key|(?<![a-z])key(?![a-z])|token(?!s|iz)|secret|passw|pwd|credential|auth(?!or)|bearer|cookie|"
    r"connection_?string|dsn)"
)
_KNOWN_FORM: Final = re.compile(
    r"(?:sk-|sk_|pk_live_|rk_|gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|hf_|AKIA|ASIA|AIza|ya29\.|"
    r"npm_|pypi-|eyJ[A-Za-z0-9_-]{8,}\.|Bearer\s|Basic\s|-----BEGIN )"
)
_RANDOM: Final = re.compile(r"(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9+/=_-]{32,}")
_REFERENCE: Final = re.compile(r"(?:[!-~]* ?)secret:[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NEVER_OPEN: Final = re.compile(
    r"(?:^|[_-])(?:auth|authorization|cookie|key|apikey|token|secret|password|credentials?)(?:$|[_-])",
    re.IGNORECASE,
)
_HARMLESS: Final = frozenset({"", "0", "1", "true", "false", "none", "null", "yes", "no"})
_OUTSIDE_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")
NAME_MAX_CHARS: Final = 100


def looks_secret(name: str, value: str) -> bool:
    """Tell whether a value of that name is probably a key."""
    if not value or _REFERENCE.fullmatch(value):
        return False
    if _NEVER_OPEN.search(name):
        return True
    if value.strip().lower() in _HARMLESS:
        return False
    if _KNOWN_FORM.match(value.strip()):
        return True
    if _TELLING.search(name):
        return not value.startswith(("/", "./", "~/"))
    return bool(_RANDOM.fullmatch(value)) or _has_password(value)


def secret_in_argument(before: str, argument: str) -> bool:
    """Tell whether an argument holds a key, by itself or by the option that stands before it."""
    option, sign, value = argument.partition("=")
    if not (sign and option.startswith("-")):
        option, value = (before if before.startswith("-") and "=" not in before else ""), argument
    if value.startswith("-") or value.strip().lower() in _HARMLESS:
        return False
    if value.startswith(("/", "./", "~/")):
        return False  # a file with a key in it, which the walls hide unless it is given
    return looks_secret(option, value)


def secret_in_url(url: str) -> str:
    """Return which part of an address holds a key, empty for none."""
    try:
        parts = urlsplit(url)
        if parts.password or (parts.username and looks_secret("", parts.username)):
            return "its user name and password"
        fields = parse_qsl(parts.query, max_num_fields=100)
    except ValueError:
        return ""
    found = (name for name, value in fields if looks_secret(name, value))
    return next((f"its field {name}" for name in found), "")


def secret_name_of(server: str, field: str) -> str:
    """Return under which name a value of a server goes into the vault."""
    return _OUTSIDE_NAMES.sub("-", f"mcp-{server}-{field}")[:NAME_MAX_CHARS]


def _has_password(text: str) -> bool:
    """Tell whether a text is an address with a password in it."""
    if "://" not in text or "@" not in text:
        return False
    try:
        return bool(urlsplit(text).password)
    except ValueError:
        return False
