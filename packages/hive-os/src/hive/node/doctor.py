"""What `hive doctor` finds by starting something: engines and walls; and what the settings leave weak.

Ports, disk, memory and versions are looked at by the command itself, which needs no node for them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anyio import to_thread

from hive.core.clock import SystemClock
from hive.core.errors import HiveError
from hive.core.grant import Tier
from hive.core.settings import Settings
from hive.execution.enforcement import EnforcerStep
from hive.execution.enforcement.ladder import WALLS_ALONE, described, taken
from hive.execution.environment_node import host_node
from hive.execution.ports import Probe
from hive.node.console import NodeFace
from hive.node.engine_status import engine_statuses
from hive.web.values import (
    EngineStatus,
    Examination,
    Finding,
)

if TYPE_CHECKING:
    from hive.node.build import Node


async def examine_node(node: "Node", face: NodeFace) -> Examination:
    """Examine a running node: its engines and walls are tried again."""
    from hive.node.doctor_guards import guards_of

    probes = await node.tiers.probed_again()
    statuses = await engine_statuses(node.engines)
    return Examination(
        findings=[
            *map(engine_finding, statuses),
            *_walls(probes, node.settings),
            enforcer_finding(node.enforcement.steps, node.settings),
            await node.identity.finding(node.clock.now()),
            *await guards_of(node),
            *(await node.models.findings() if node.models else [_models(node.settings)]),
            await to_thread.run_sync(_node_js, node.settings),
            await to_thread.run_sync(_kvm),
            *(node.tools.findings() if node.tools else ()),
            _mode(node.settings),
        ]
    )


async def examine(settings: Settings) -> Examination:
    """Examine a machine on which no node runs: every engine and wall is started for a moment.

    Raises:
        HiveError: the state folder cannot be used.

    """
    from hive.node.alone import engines_alone, probes_alone
    from hive.node.doctor_guards import guards_alone
    from hive.node.enforcing import steps_alone

    found = [finding async for finding in engines_alone(settings)]
    found += _walls(await probes_alone(settings), settings)
    steps = await to_thread.run_sync(steps_alone, settings)
    found.append(enforcer_finding(steps, settings))
    found += await guards_alone(settings, SystemClock())
    found += [_models(settings), await to_thread.run_sync(_node_js, settings)]
    found += [await to_thread.run_sync(_kvm), _mode(settings)]
    return Examination(findings=found)


def _kvm() -> Finding:
    """Say whether virtual machines would run here at the processor's own speed; no tier uses it yet."""
    from hive.execution.microvm.vcpu import probe_vcpu

    found = probe_vcpu()
    return Finding(
        section="walls",
        name="kvm",
        state="info",
        detail=f"{'real' if found.real else 'not usable'}: {found.reason}",
    )


def enforcer_finding(steps: Sequence[EnforcerStep], settings: Settings) -> Finding:
    """Say what holds rules in the kernel, and which stronger steps this machine does not have."""
    step = taken(steps)
    told = described(one for one in steps if not one.stands)
    if step is None or step.name == WALLS_ALONE:
        return Finding(
            section="walls",
            name="kernel guard",
            state="failed" if step is None else "degraded" if settings.production else "info",
            detail=f"none: {told or (step.detail if step else '')}",
            fix="Agents whose policies need it do not start. It needs root, libbpf (Debian: libbpf1) and Linux 5.8.",
        )
    detail = f"{described((step,))}{f'   ({told})' if told else ''}"
    return Finding(section="walls", name="kernel guard", state="ok", detail=detail)


def engine_finding(status: EngineStatus) -> Finding:
    """Say what an engine is."""
    return Finding(
        section="engines",
        name=status.port,
        state="ok",
        detail=f"{'embedded ' if status.embedded else ''}{status.engine} {status.version}"
        f"   {status.detail}",
    )


def engine_failure(port: str, error: HiveError) -> Finding:
    """Say that an engine did not start."""
    return Finding(section="engines", name=port, state="failed", detail=str(error), fix=error.fix)


def _walls(probes: Sequence[Probe], settings: Settings) -> list[Finding]:
    found = []
    for probe in probes:
        tier = probe.tier.name.lower()
        took = f"{probe.start_ms:.1f} ms to start" if probe.start_ms is not None else ""
        found.append(
            Finding(
                section="walls",
                name=tier,
                state="ok" if probe.available else "failed",
                detail=probe.reason or took,
                fix="" if probe.available else "Agents cannot run here; see the walls below.",
            )
        )
        for wall in probe.walls:
            weak = "failed" if wall.name in settings.walls_min else "degraded"
            found.append(
                Finding(
                    section="walls",
                    name=f"{tier}.{wall.name}",
                    state="ok" if wall.stands else weak,  # type: ignore[arg-type]
                    detail=wall.detail,
                    fix="" if wall.stands else "Agents run without this wall.",
                )
            )
    if Tier.GVISOR not in {probe.tier for probe in probes}:
        detail = "not asked for; it gives agents a kernel of their own: HIVE_TIERS=process:,gvisor:"
        found.append(Finding(section="walls", name="gvisor", state="info", detail=detail))
    found.append(
        Finding(
            section="walls",
            name="microvm",
            state="unverified",
            detail="this tier is not part of this version",
        )
    )
    return found


def _models(settings: Settings) -> Finding:
    if settings.models.startswith("scripted:"):
        return Finding(
            section="models",
            name="upstream",
            state="degraded",
            detail="no model: answers are scripted",
            fix="While a node runs: hive llm add openai --key-from-stdin     or set HIVE_MODELS.",
        )
    keyed = "with a key" if settings.model_key else "without a key"
    return Finding(
        section="models",
        name="upstream",
        state="unverified",
        detail=f"{settings.models} {keyed}; it is asked when an agent asks",
    )


def _node_js(settings: Settings) -> Finding:
    """Say whether tool servers that are written for Node.js can run here, by running it."""
    found = host_node(settings.node_bin)
    if found is None:
        return Finding(
            section="tools",
            name="node.js",
            state="info",
            detail="none on this machine: it is built from the package index when a server needs it",
            fix="Install Node.js 22 or newer with npm, or `pip install 'hive-os[node]'`.",
        )
    lacks = (
        "" if found.obeys_proxy else "; servers that reach hosts get a newer one, built when needed"
    )
    return Finding(section="tools", name="node.js", state="ok", detail=f"{found}{lacks}")


def _mode(settings: Settings) -> Finding:
    return Finding(
        section="settings",
        name="mode",
        state="ok" if settings.production else "info",
        detail=f"{settings.mode}; walls demanded: {', '.join(settings.walls_min) or 'none'}",
    )
