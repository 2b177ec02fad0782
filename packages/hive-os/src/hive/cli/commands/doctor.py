"""`hive doctor`: what stands, how that was found out, and what to do about the rest."""

import platform
import shutil
import socket
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hive.cli.errors import EXIT_DEGRADED, EXIT_FAILED
from hive.cli.render import one_line, state
from hive.cli.session import Options, moving, say, shared_options, show, show_json
from hive.core.errors import ConfigError
from hive.web.values import Examination, Finding, NodeStatus

if TYPE_CHECKING:
    from hive.core.settings import Settings

DOCTOR_TIMEOUT_S: Final = 120.0
SECTIONS: Final = (
    "engines",
    "walls",
    "identity",
    "policy",
    "trust",
    "relations",
    "watchdog",
    "witnesses",
    "ports",
    "disk",
    "versions",
    "models",
    "tools",
    "memory",
    "settings",
)
_PACKAGES: Final = (
    "hive-os",
    "hive-guest",
    "hive-a2a-sdk",
    "a2a-sdk",
    "asyncpg",
    "nats-py",
    "uvicorn",
)
_MEMORY_FLOOR_BYTES: Final = 512 << 20
_DISK_COMFORT: Final = 4
_SECRET: Final = "***"  # noqa: S105  what stands in a secret's place


@click.command(help="Examine engines, walls, ports, disk, versions, models, memory.")
@shared_options
def doctor(*, options: Options) -> int:
    """Examine this machine; exit 3 when something is weaker than in production, 1 when it fails."""
    settings, problems = _settings(options)
    findings = list(problems)
    if settings is not None:
        with moving(options, "examining engines and walls"):
            findings += _examined(options, settings)
        findings += _own_findings(settings)
        if options.verbose or options.json:
            findings += _setting_findings(settings)
    findings.sort(key=lambda finding: SECTIONS.index(finding.section))
    for finding in findings:
        if options.json:
            show_json(finding)
        else:
            for line in _lines(finding):
                show(line)
    return _verdict(options, findings, running=settings is not None and options.client().alive())


def _settings(options: Options) -> "tuple[Settings | None, list[Finding]]":
    try:
        return options.settings(), []
    except ConfigError as error:
        lines = [line.strip(" -") for line in error.why.splitlines() if line.strip()]
        return None, [
            Finding(section="settings", name="settings", state="failed", detail=line, fix=error.fix)
            for line in lines
        ]


def _examined(options: Options, settings: "Settings") -> list[Finding]:
    client = options.client()
    if client.alive():
        return client.get("doctor", Examination, timeout_s=DOCTOR_TIMEOUT_S).findings
    from hive.cli import node_entry

    return node_entry.examine(settings).findings


def _own_findings(settings: "Settings") -> Iterator[Finding]:
    yield _port_finding(settings)
    yield _disk_finding(settings)
    yield _memory_finding()
    yield from _version_findings()


def _port_finding(settings: "Settings") -> Finding:
    name = f"{settings.host}:{settings.port}"
    from hive.cli.client import OperatorClient

    client = OperatorClient(settings.state)
    if client.alive():
        address = client.get("status", NodeStatus).address
        return Finding(section="ports", name=address, state="ok", detail="this node listens there")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            from hive.web.port_holder import port_in_use

            held = port_in_use(settings.port)
            detail = held.what if settings.port else str(error.strerror)
            return Finding(section="ports", name=name, state="failed", detail=detail, fix=held.fix)
    return Finding(section="ports", name=name, state="ok", detail="free: bound and released it")


def _disk_finding(settings: "Settings") -> Finding:
    place = settings.state
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    floor = settings.disk_floor_bytes
    detail = f"{free / (1 << 30):.1f} GiB free, new calls stop below {floor >> 20} MiB"
    name = str(settings.state)
    if free < floor:
        fix = "Free some space, or lower HIVE_DISK_FLOOR_BYTES."
        return Finding(section="disk", name=name, state="failed", detail=detail, fix=fix)
    if free < floor * _DISK_COMFORT:
        fix = "Free some space soon."
        return Finding(section="disk", name=name, state="degraded", detail=detail, fix=fix)
    return Finding(section="disk", name=name, state="ok", detail=detail)


def _memory_finding() -> Finding:
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(fields["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError, IndexError):
        return Finding(
            section="memory",
            name="memory",
            state="unverified",
            detail="this system does not tell how much is free",
        )
    detail = f"{free / (1 << 30):.1f} GiB available"
    if free < _MEMORY_FLOOR_BYTES:
        fix = "Stop something, or run fewer agents at once."
        return Finding(section="memory", name="memory", state="degraded", detail=detail, fix=fix)
    return Finding(section="memory", name="memory", state="ok", detail=detail)


def _version_findings() -> Iterator[Finding]:
    machine = f"{platform.python_implementation()}, {platform.system()} {platform.release()}"
    yield Finding(
        section="versions",
        name=f"python {platform.python_version()}",
        state="ok",
        detail=f"{machine}, {platform.machine()}",
    )
    found, missing = [], []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            missing.append(package)
    yield Finding(section="versions", name="packages", state="ok", detail=", ".join(found))
    if missing:
        yield Finding(
            section="versions",
            name="packages",
            state="failed",
            detail=f"not installed: {', '.join(missing)}",
            fix="Install hive-os again: its dependencies are incomplete.",
        )


def _setting_findings(settings: "Settings") -> Iterator[Finding]:
    from hive.core.secret import Secret

    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if isinstance(value, Secret):
            value = _SECRET if value else "not set"
        yield Finding(
            section="settings", name=f"HIVE_{name.upper()}", state="info", detail=str(value)
        )


def _lines(finding: Finding) -> Iterator[str]:
    word = "" if finding.state == "info" else state(finding.state)
    name = one_line(finding.name, 40)
    yield f"{finding.section:<9} {name:<26} {one_line(finding.detail, 160):<58} {word}".rstrip()
    if finding.fix and finding.state not in ("ok", "info"):
        yield f"{'':<9} {'':<26} -> {one_line(finding.fix, 200)}"


def _verdict(options: Options, findings: list[Finding], *, running: bool) -> int:
    failed = sum(finding.state == "failed" for finding in findings)
    weak = sum(finding.state == "degraded" for finding in findings)
    if failed:
        say(options, f"exit {EXIT_FAILED}: {failed} of these must be mended before it runs")
        return EXIT_FAILED
    if weak:
        verb = "thing is" if weak == 1 else "things are"
        say(options, f"exit {EXIT_DEGRADED}: it runs; {weak} {verb} weaker than in production")
        return EXIT_DEGRADED
    if not running:
        say(options, "Next:  hive up")
    return 0
