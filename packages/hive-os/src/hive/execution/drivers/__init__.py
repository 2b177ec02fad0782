"""The tiers that can be chosen in `HIVE_TIERS`, one driver module each."""

from typing import Final

from hive.core.drivers import DriverRow, Table
from hive.execution.ports import SandboxDriver

DRIVERS: Final[Table[SandboxDriver]] = Table(
    port="execution",
    setting="HIVE_TIERS",
    rows=(
        DriverRow(
            scheme="wasm",
            target="hive.execution.drivers.wasm:WasmDriver",
            summary="a WebAssembly component in a host process (Linux, `pip install 'hive-os[wasm]'`)",
        ),
        DriverRow(
            scheme="process",
            target="hive.execution.drivers.process:ProcessDriver",
            summary="a process behind namespaces, Landlock, seccomp and a cgroup (Linux)",
        ),
        DriverRow(
            scheme="gvisor",
            target="hive.execution.drivers.gvisor:GvisorDriver",
            summary="a process on a kernel of its own, gVisor's (Linux, root, runsc)",
        ),
    ),
)
