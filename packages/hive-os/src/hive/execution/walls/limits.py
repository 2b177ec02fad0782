"""The limits of each process of a sandbox, set last before the agent runs."""

import resource

from hive.execution.walls.plan import SizePlan


def apply(sizes: SizePlan, *, whole_is_limited: bool) -> None:
    """Set the limits; without a cgroup, each process at least has a bound on its own data."""
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: sizes.files_max,
        resource.RLIMIT_NPROC: sizes.processes_max,
        resource.RLIMIT_FSIZE: sizes.disk_bytes,
        resource.RLIMIT_CPU: sizes.cpu_s,
    }
    if not whole_is_limited:
        wanted[resource.RLIMIT_DATA] = sizes.memory_bytes
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))
