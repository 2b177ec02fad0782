"""Every setting, read once from `hive.toml` and `HIVE_*`; the only module that reads the environment.

A variable wins over the file, the file over the default. `HIVE_X_FILE` names a file that holds the
value of `HIVE_X` (for secrets). All problems are found before anything is started, and listed at once.
"""

import os
import re
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, get_type_hints

import msgspec

from hive.core.errors import ConfigError
from hive.core.secret import Secret

PREFIX: Final = "HIVE_"
_PASSWORD: Final = re.compile(r"//[^/@\s]*@")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings with their defaults. Sizes in bytes, times in seconds."""

    mode: Literal["development", "production"] = "development"
    state_dir: str = ""
    walls_min: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8700
    insecure_bind: bool = False
    tls_cert: str = ""
    tls_key: str = ""
    public_url: str = ""
    grpc_port: int = 0
    peer_port: int = 0
    push_private: bool = False
    a2a_sealing: Literal["offered", "required", "off"] = "offered"
    database_url: str = "embedded:"
    mesh_url: str = "embedded:"
    models: str = "scripted:"
    model_key: Secret = Secret("")
    ollama_url: str = "http://127.0.0.1:11434"
    tiers: str = "process:"
    tier_min: str = "wasm"
    enforcer: str = "auto"
    spans_url: str = "postgresql:"
    witness_url: str = ""
    witness_for: tuple[str, ...] = ()
    accept_rollback: str = ""
    measurements: str = ""
    identity_url: str = "local-ca:"
    trust_domain: str = ""
    svid_ttl_s: float = 3600.0
    node_work_bits: int = 0
    node_machines: str = ""
    postgres_bin: str = ""
    nats_bin: str = ""
    uv_bin: str = ""
    index_url: str = ""
    index_hosts: tuple[str, ...] = ()
    npm_registry_url: str = ""
    node_bin: str = ""
    ssl_cert_file: str = ""
    environments_max_bytes: int = 20 << 30
    package_age_days: int = 0
    verify_url: str = "keyring:"
    master_key: Secret = Secret("")
    operator_token: Secret = Secret("")
    metrics_token: Secret = Secret("")
    anonymous: bool = False
    anonymous_tools: bool = False
    oauth_issuers: tuple[str, ...] = ()
    oauth_registration: bool = False
    body_max_bytes: int = 4 << 20
    depth_max: int = 64
    request_timeout_s: float = 30.0
    tasks_in_flight_max: int = 2000
    requests_per_s: int = 2000
    warrants_url: str = "tenuo:"
    warrant_ceiling: tuple[str, ...] = ()
    warrant_roots: tuple[str, ...] = ()
    warrant_ttl_s: float = 604_800.0
    roles_url: str = "casbin:"
    policy_url: str = "regorus:"
    policy_bundle: str = ""
    policy_keys: str = ""
    policy_timeout_s: float = 2.0
    policy_watch_s: float = 1.0
    relations_url: str = "postgresql:"
    relations_timeout_s: float = 2.0
    approval_hold_s: float = 10.0
    labels: Literal["enforce", "watch"] = "enforce"
    labels_allow: tuple[str, ...] = ()
    guard_url: str = "rules:"
    guard_timeout_s: float = 1.0
    guard_redact: tuple[str, ...] = ()
    guard_approve_above: float = 0.0
    approval_webhook: str = ""
    model_calls_per_task: int = 50
    model_loop: Literal["off", "warn", "pause", "stop"] = "warn"
    model_loop_calls: int = 20
    model_output_tokens_max: int = 8192
    model_prices: str = ""
    journal: Literal["full", "results"] = "full"
    journal_redactions: tuple[str, ...] = ()
    disk_floor_bytes: int = 256 << 20
    log_level: str = "info"
    otlp_endpoint: str = ""

    def __repr__(self) -> str:
        """Show every setting; a password inside a URL is a secret as well."""
        shown = ((name, repr(getattr(self, name))) for name in self.__struct_fields__)
        fields = (f"{name}={_PASSWORD.sub('//***@', text)}" for name, text in shown)
        return f"Settings({', '.join(fields)})"

    @property
    def production(self) -> bool:
        """Tell whether weak settings stop the start."""
        return self.mode == "production"

    @property
    def state(self) -> Path:
        """Return the folder of everything that survives a restart."""
        return Path(self.state_dir)


def load_settings(
    environment: Mapping[str, str] | None = None, *, file: Path | None = None, **given: object
) -> Settings:
    """Read all settings; `given` (command-line options) wins over everything.

    Raises:
        ConfigError: one or more are wrong; `why` lists all of them.

    """
    environment = os.environ if environment is None else environment
    problems: list[str] = []
    values: dict[str, object] = _from_file(file or _default_file(environment), problems)
    values |= _from_environment(environment, problems)
    values |= {name: value for name, value in given.items() if value is not None}
    values = _from_others(environment) | values
    if not values.get("state_dir"):
        values["state_dir"] = _default_state(environment)
    settings = _decode(values, problems)
    if settings is not None:
        problems += weaknesses(settings)
    if problems or settings is None:
        raise ConfigError(
            "The settings do not allow a start.",
            why="".join(f"\n  - {problem}" for problem in problems),
            fix="Correct each of them; `hive doctor -v` shows all settings with their defaults.",
        )
    return settings


def weaknesses(settings: Settings) -> list[str]:
    """Return what production would refuse, each with the command that mends it."""
    found = []
    local = settings.host in ("127.0.0.1", "::1", "localhost")
    if not local and not settings.tls_cert and not settings.insecure_bind:
        found.append(
            f"HIVE_HOST={settings.host} would serve other machines without TLS: "
            "set HIVE_TLS_CERT and HIVE_TLS_KEY, or HIVE_INSECURE_BIND=true to give that up"
        )
    if bool(settings.tls_cert) != bool(settings.tls_key):
        found.append("HIVE_TLS_CERT and HIVE_TLS_KEY go together: set both or none")
    if not settings.production:
        return found
    if not settings.master_key:
        found.append(
            "HIVE_MASTER_KEY is missing (the vault's key): "
            "export HIVE_MASTER_KEY_FILE=/path; head -c 32 /dev/urandom | base64 > /path"
        )
    if not settings.operator_token:
        found.append(
            "HIVE_OPERATOR_TOKEN is missing: "
            "export HIVE_OPERATOR_TOKEN_FILE=/path; head -c 32 /dev/urandom | base64 > /path"
        )
    if not settings.walls_min:
        found.append(
            "HIVE_WALLS_MIN is missing: "
            "export HIVE_WALLS_MIN=namespaces,landlock,seccomp,no-network,unprivileged"
        )
    if settings.anonymous_tools:
        found.append("HIVE_ANONYMOUS_TOOLS=true lets strangers call tools: unset it")
    if settings.anonymous:
        found.append("HIVE_ANONYMOUS=true lets strangers call agents: unset it")
    return found


def variable(name: str) -> str:
    """Return a variable that an operator named on the command line, empty where it is not set."""
    return os.environ.get(name, "").strip()


def _default_file(environment: Mapping[str, str]) -> Path | None:
    named = environment.get(PREFIX + "CONFIG")
    if named:
        return Path(named)
    here = Path("hive.toml")
    return here if here.is_file() else None


def _default_state(environment: Mapping[str, str]) -> str:
    base = environment.get("XDG_STATE_HOME")
    home = environment.get("HOME") or str(Path.home())
    return str((Path(base) if base else Path(home) / ".local" / "state") / "hive")


def _from_file(file: Path | None, problems: list[str]) -> dict[str, object]:
    if file is None:
        return {}
    try:
        table = tomllib.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{file} cannot be read: {error}")
        return {}
    known = set(Settings.__struct_fields__)
    problems += [f"{file} has an unknown setting {key!r}" for key in table if key not in known]
    return {key: value for key, value in table.items() if key in known}


OUTSIDE_SETTINGS: Final = (
    "HIVE_CONFIG",
    "HIVE_DEBUG",
    "HIVE_MCP_TOKEN",  # of `hive mcp`, which shows it to a node elsewhere
    # Of the SDK and its command, which stand alone.
    "HIVE_A2A_HOME",
    "HIVE_A2A_TOKEN",
    "HIVE_A2A_DEBUG",
    "HIVE_A2A_OTHER",
    "HIVE_A2A_COMPLETE",
)


def _from_environment(environment: Mapping[str, str], problems: list[str]) -> dict[str, object]:
    hints = get_type_hints(Settings)
    values: dict[str, object] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable in OUTSIDE_SETTINGS:
            continue
        key = variable.removeprefix(PREFIX).lower()
        if key.endswith("_file") and key.removesuffix("_file") in hints:
            key = key.removesuffix("_file")
            try:
                text = Path(text).read_text().strip()
            except OSError as error:
                problems.append(f"{variable} names a file that cannot be read: {error}")
                continue
        if key not in hints:
            problems.append(f"{variable} is not a setting")
            continue
        try:
            values[key] = _parse(text, hints[key])
        except ValueError:
            problems.append(f"{variable} does not hold {_kind(hints[key])}")
    return values


OF_OTHERS: Final = {
    "index_url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"),
    "npm_registry_url": ("NPM_CONFIG_REGISTRY", "npm_config_registry"),
    "ssl_cert_file": ("SSL_CERT_FILE",),
    "otlp_endpoint": ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
}
"""Variables of other programs that stand in for a setting which is not given."""


def _from_others(environment: Mapping[str, str]) -> dict[str, object]:
    return {
        key: next(value for name in names if (value := environment.get(name)))
        for key, names in OF_OTHERS.items()
        if any(environment.get(name) for name in names)
    }


def _parse(text: str, hint: object) -> object:
    if hint is bool:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off", ""):
            return False
        raise ValueError(text)
    if hint is int:
        return int(text)
    if hint is float:
        return float(text)
    if typing.get_origin(hint) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _kind(hint: object) -> str:
    if hint is bool:
        return "true or false"
    return "a whole number" if hint is int else "a value that fits"


def _decode(values: dict[str, object], problems: list[str]) -> Settings | None:
    def secret(kind: type, value: object) -> object:
        if kind is Secret:
            return value if isinstance(value, Secret) else Secret(str(value))
        raise NotImplementedError

    try:
        return msgspec.convert(values, Settings, dec_hook=secret)
    except msgspec.ValidationError as error:
        problems.append(f"a setting has the wrong type: {error}")
        return None
