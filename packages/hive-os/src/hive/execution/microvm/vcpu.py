"""Whether `/dev/kvm` is a real virtual processor: a 64-bit loop is run on one and timed.

That the device opens proves nothing: inside some virtual machines it is there and emulates each instruction,
hundreds of times slower, and no Linux starts on it.
"""

import ctypes
import fcntl
import mmap
import os
import platform
import struct
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PASSES: Final = 100_000
EMULATED_FROM_MS: Final = 50.0
KVM: Final = Path("/dev/kvm")

_API_VERSION: Final = 12
_EXIT_HLT: Final = 5
_EXIT_REASON_AT: Final = 8
_GET_API, _CREATE_VM, _MMAP_SIZE, _CREATE_VCPU, _RUN = 0xAE00, 0xAE01, 0xAE04, 0xAE41, 0xAE80
_SET_MEMORY, _SET_REGS, _GET_SREGS, _SET_SREGS = 0x4020AE46, 0x4090AE82, 0x8138AE83, 0x4138AE84
_SREGS_BYTES, _CONTROL_AT = 312, 224
_MEMORY, _CODE_AT, _PML4, _PDPT, _PD = 64 << 10, 0x1000, 0x2000, 0x3000, 0x4000
# mov ecx, PASSES; again: dec ecx; jnz again; hlt
_CODE: Final = b"\xb9" + PASSES.to_bytes(4, "little") + b"\xff\xc9\x75\xfc\xf4"
_SEGMENT: Final = struct.Struct("<QIH10B")
_CODE_SEGMENT: Final = _SEGMENT.pack(0, 0xFFFFFFFF, 8, 11, 1, 0, 0, 1, 1, 1, 0, 0, 0)
_DATA_SEGMENT: Final = _SEGMENT.pack(0, 0xFFFFFFFF, 16, 3, 1, 0, 1, 1, 0, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VcpuProbe:
    """What the loop showed: `real` only where it ran to its end at a processor's own speed."""

    real: bool
    reason: str
    took_ms: float | None = None


def probe_vcpu(device: Path = KVM) -> VcpuProbe:
    """Return whether this machine runs 64-bit guests; blocks while the loop runs, so ask in a thread."""
    if platform.machine() != "x86_64":
        return VcpuProbe(real=False, reason=f"the probe knows x86_64, not {platform.machine()}")
    try:
        left_with, took_ms = _timed_loop(device)
    except OSError as problem:
        return VcpuProbe(real=False, reason=f"{device}: {problem.strerror or problem}")
    return judge(left_with, took_ms)


def judge(left_with: int, took_ms: float) -> VcpuProbe:
    """Return what an exit reason and a time mean."""
    if left_with != _EXIT_HLT:
        return VcpuProbe(
            real=False, reason=f"a 64-bit guest stopped with exit {left_with}", took_ms=took_ms
        )
    if took_ms > EMULATED_FROM_MS:
        reason = (
            f"emulated: {PASSES} passes took {took_ms:.0f} ms, more than {EMULATED_FROM_MS:.0f}"
        )
        return VcpuProbe(real=False, reason=reason, took_ms=took_ms)
    return VcpuProbe(real=True, reason=f"{PASSES} passes took {took_ms:.1f} ms", took_ms=took_ms)


def _timed_loop(device: Path) -> tuple[int, float]:
    with ExitStack() as stack:
        kvm = _closing(stack, os.open(device, os.O_RDWR | os.O_CLOEXEC))
        if (version := fcntl.ioctl(kvm, _GET_API, 0)) != _API_VERSION:
            raise OSError(f"KVM has API version {version}, not {_API_VERSION}")
        machine = _closing(stack, fcntl.ioctl(kvm, _CREATE_VM, 0))
        memory = stack.enter_context(mmap.mmap(-1, _MEMORY))
        _fill(memory)
        held = ctypes.c_char.from_buffer(memory)
        address = ctypes.addressof(held)
        del held
        fcntl.ioctl(machine, _SET_MEMORY, struct.pack("<IIQQQ", 0, 0, 0, _MEMORY, address))
        vcpu = _closing(stack, fcntl.ioctl(machine, _CREATE_VCPU, 0))
        state = stack.enter_context(mmap.mmap(vcpu, fcntl.ioctl(kvm, _MMAP_SIZE, 0)))
        _enter_long_mode(vcpu)
        began = time.perf_counter()
        fcntl.ioctl(vcpu, _RUN, 0)
        took_ms = (time.perf_counter() - began) * 1000
        return int.from_bytes(state[_EXIT_REASON_AT : _EXIT_REASON_AT + 4], "little"), took_ms


def _closing(stack: ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _fill(memory: mmap.mmap) -> None:
    memory[_CODE_AT : _CODE_AT + len(_CODE)] = _CODE
    for table, value in ((_PML4, _PDPT | 3), (_PDPT, _PD | 3), (_PD, 0x83)):
        memory[table : table + 8] = value.to_bytes(8, "little")


def _enter_long_mode(vcpu: int) -> None:
    special = bytearray(_SREGS_BYTES)
    fcntl.ioctl(vcpu, _GET_SREGS, special)
    special[: _SEGMENT.size] = _CODE_SEGMENT
    for place in range(1, 6):
        special[place * _SEGMENT.size : (place + 1) * _SEGMENT.size] = _DATA_SEGMENT
    control = list(struct.unpack_from("<7Q", special, _CONTROL_AT))
    control[0], control[2], control[3], control[5] = 0x80000011, _PML4, 0x20, 0x500
    struct.pack_into("<7Q", special, _CONTROL_AT, *control)
    fcntl.ioctl(vcpu, _SET_SREGS, bytes(special))
    registers = [0] * 18
    registers[6], registers[16], registers[17] = _MEMORY, _CODE_AT, 2
    fcntl.ioctl(vcpu, _SET_REGS, struct.pack("<18Q", *registers))
