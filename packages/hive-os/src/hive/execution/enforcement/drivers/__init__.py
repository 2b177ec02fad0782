"""What watches sandboxes in the kernel, one driver module each, strongest first."""

from typing import Final

from hive.core.drivers import DriverRow, Table
from hive.execution.enforcement.ports import Enforcer

DRIVERS: Final[Table[Enforcer]] = Table(
    port="enforcement",
    setting="HIVE_ENFORCER",
    rows=(
        DriverRow(
            scheme="lsm",
            target="hive.execution.enforcement.drivers.bpf:LsmEnforcer",
            summary="BPF before opens and execs, as a security module of the kernel (Linux 5.8 with bpf in its lsm list)",
        ),
        DriverRow(
            scheme="bpf",
            target="hive.execution.enforcement.drivers.bpf:BpfEnforcer",
            summary="BPF at the end of opens, at exec and at connections (Linux 5.8, root, libbpf)",
        ),
    ),
)
