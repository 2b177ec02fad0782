"""Hooks of Tetragon that Hive's enforcer has too, and what each of their arguments means to it."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hive.core.kernel_rules import KernelAct


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownHook:
    """A hook: what it sees, which argument holds the path or the address, and whether it can refuse."""

    act: KernelAct
    argument: int = -1
    types: tuple[str, ...] = ()
    syscall: str = ""
    can_override: bool = False


def _call(name: str) -> KnownHook:
    return KnownHook(act=KernelAct.SYSCALL, syscall=name)


_FILE: Final = ("file", "path")
SYSCALLS: Final = MappingProxyType(
    {
        "sys_open": KnownHook(act=KernelAct.OPEN, argument=0, types=("string",)),
        "sys_openat": KnownHook(act=KernelAct.OPEN, argument=1, types=("string",)),
        "sys_openat2": KnownHook(act=KernelAct.OPEN, argument=1, types=("string",)),
        "sys_execve": KnownHook(act=KernelAct.EXECUTE, argument=0, types=("string",)),
        **{
            f"sys_{name}": _call(name)
            for name in (
                "bpf",
                "finit_module",
                "init_module",
                "kexec_file_load",
                "kexec_load",
                "mount",
                "ptrace",
                "setns",
                "unshare",
            )
        },
    }
)
KPROBES: Final = MappingProxyType(
    {
        "fd_install": KnownHook(act=KernelAct.OPEN, argument=1, types=_FILE),
        "security_file_open": KnownHook(
            act=KernelAct.OPEN, argument=0, types=_FILE, can_override=True
        ),
        "security_bprm_check": KnownHook(
            act=KernelAct.EXECUTE, argument=0, types=("linux_binprm",), can_override=True
        ),
        "tcp_connect": KnownHook(act=KernelAct.CONNECT, argument=0, types=("sock",)),
        "security_socket_connect": KnownHook(
            act=KernelAct.CONNECT, argument=1, types=("sockaddr",), can_override=True
        ),
    }
)
LSM_HOOKS: Final = MappingProxyType(
    {
        "file_open": KPROBES["security_file_open"],
        "bprm_check_security": KPROBES["security_bprm_check"],
        "socket_connect": KPROBES["security_socket_connect"],
    }
)
TCP_ONLY: Final = ("tcp_connect",)
