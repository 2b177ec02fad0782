"""What the kernel itself watches and stops: rules for the processes of a sandbox, whatever its walls let through."""

from hive.execution.enforcement.guards import KernelGuards
from hive.execution.enforcement.ports import (
    Enforcer,
    EnforcerStep,
    Guarded,
    Guarding,
    KernelEvent,
    SandboxGuard,
)

__all__ = (
    "Enforcer",
    "EnforcerStep",
    "Guarded",
    "Guarding",
    "KernelEvent",
    "KernelGuards",
    "SandboxGuard",
)
