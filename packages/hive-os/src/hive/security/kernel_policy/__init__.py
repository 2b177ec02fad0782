"""Policies for the kernel in the language of Tetragon, read into rules of the one grant; what is outside is refused by name."""

from hive.security.kernel_policy.outcome import ReadPolicy
from hive.security.kernel_policy.shelf import KeptPolicy, KernelPolicies, read_policies

__all__ = ("KeptPolicy", "KernelPolicies", "ReadPolicy", "read_policies")
