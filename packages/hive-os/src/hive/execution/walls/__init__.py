"""The walls of the process tier, each one module over the kernel's own calls.

Standard library only: the launcher imports these and nothing else, so it starts fast and stays small.
Order in which they go up: namespaces, mounts, cgroups, capabilities, limits, landlock, seccomp.
"""
