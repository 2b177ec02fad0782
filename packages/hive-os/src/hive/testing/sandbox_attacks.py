"""Attacks on a sandbox, as programs to be run inside one; each prints PASSED if it got through.

They need nothing but the standard library. Where an attack needs a target (a file, a port, a pid), it is the
program's argument. Run one outside of a sandbox to see that it works there.
"""

import subprocess
import sys
from typing import Final

_HEAD: Final = """
import ctypes, os, socket, sys
target = sys.argv[1] if len(sys.argv) > 1 else ""
libc = ctypes.CDLL(None, use_errno=True)
def attempt(action):
    try:
        told = action()
    except (OSError, MemoryError) as error:
        print("REFUSED", error)
    else:
        print("PASSED", told)
def system_call(number, *arguments):
    padded = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    padded += [ctypes.c_long(0)] * (6 - len(padded))
    if libc.syscall(ctypes.c_long(number), *padded) < 0:
        error = ctypes.get_errno()
        # Any other error shows that the kernel looked at the request at all.
        if error in (1, 38):
            raise OSError(error, os.strerror(error))
    return "served"
def read(path):
    with open(path) as file:
        return file.read()[:40]
def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as far:
        far.settimeout(1)
        far.connect(address)
        return far.recv(100)
"""


def _program(body: str) -> str:
    return _HEAD + body


READ_FILES: Final = {
    "by its path": _program("attempt(lambda: read(target))"),
    "by a path with dots": _program(
        "attempt(lambda: read('/tmp/../../../../..' + os.path.abspath(target)))"
    ),
    "by a link of its own": _program(
        "link = '/tmp/link-%d' % os.getpid()\nos.symlink(target, link)\n"
        "attempt(lambda: read(link))\nos.unlink(link)"
    ),
    "through the root of its parent": _program(
        "attempt(lambda: read('/proc/%d/root' % os.getppid() + target))"
    ),
    "through the working folder of its parent": _program(
        "attempt(lambda: read('/proc/%d/cwd/../../../../../..' % os.getppid() + target))"
    ),
}

SOCKETS: Final = {
    "raw": _program("attempt(lambda: socket.socket(2, 3, 1).close())"),
    "packet": _program("attempt(lambda: socket.socket(17, 3, 0).close())"),
    "netlink": _program("attempt(lambda: socket.socket(16, 3, 0).close())"),
    "vsock": _program("attempt(lambda: socket.socket(40, 1, 0).close())"),
    "alg": _program("attempt(lambda: socket.socket(38, 5, 0).close())"),
    "ping": _program("attempt(lambda: socket.socket(2, 2, 1).close())"),
    "multipath": _program("attempt(lambda: socket.socket(2, 1, 262).close())"),
}

HOST_PORT: Final = _program("attempt(lambda: connect(socket.AF_INET, ('127.0.0.1', int(target))))")
HOST_SOCKET: Final = _program("attempt(lambda: connect(socket.AF_UNIX, target))")
ABSTRACT_SOCKET: Final = _program("attempt(lambda: connect(socket.AF_UNIX, chr(0) + target))")
ELSEWHERE: Final = _program("attempt(lambda: connect(socket.AF_INET, ('192.0.2.1', 443)))")

SYSTEM_CALL: Final = _program("attempt(lambda: system_call(int(target)))")
SYSTEM_CALLS: Final = _program(
    "for number in map(int, sys.argv[1:]):\n    attempt(lambda: system_call(number))"
)
NEW_USER_NAMESPACE: Final = _program("attempt(lambda: system_call(int(target), 0x10000000))")
FORK_INTO_NAMESPACE: Final = _program(
    "def fork():\n"
    "    result = libc.syscall(ctypes.c_long(int(target)), ctypes.c_long(0x10000000 | 17), *[ctypes.c_long(0)] * 4)\n"
    "    if result == 0:\n        os._exit(0)\n"
    "    if result < 0:\n        raise OSError(ctypes.get_errno(), 'clone')\n"
    "    os.waitpid(result, 0)\n"
    "attempt(fork)"
)
SIGNAL: Final = _program("attempt(lambda: os.kill(int(target), 0))")
READ_ENVIRONMENT: Final = _program("attempt(lambda: read('/proc/%s/environ' % target))")
WRITE_FILE: Final = _program("attempt(lambda: open(target, 'a').close())")
TAKE_FOLDER: Final = _program(
    "def take():\n"
    "    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as far:\n"
    "        far.connect(target)\n"
    "        _, fds, _, _ = socket.recv_fds(far, 10, 1)\n"
    "        with os.fdopen(os.open('secret', os.O_RDONLY, dir_fd=fds[0])) as file:\n"
    "            return file.read()\n"
    "attempt(take)"
)

FORKS: Final = _program(
    "import signal\n"
    "children = []\n"
    "def bomb():\n"
    "    for _ in range(int(target)):\n"
    "        child = os.fork()\n"
    "        if child == 0:\n            signal.pause()\n"
    "        children.append(child)\n"
    "attempt(bomb)\n"
    "print(len(children))\n"
    "for child in children:\n    os.kill(child, 9)\n"
)
MEMORY: Final = _program(
    "def fill(left):\n"
    "    held = bytearray(16 << 20)\n"
    "    held[::4096] = b'x' * len(held[::4096])\n"
    "    if left <= 1:\n        print('PASSED', flush=True)\n        return\n"
    "    child = os.fork()\n"
    "    if child == 0:\n        fill(left - 1)\n        os._exit(0)\n"
    "    os.waitpid(child, 0)\n"
    "fill(int(target))"
)
DISK: Final = _program(
    "def fill():\n"
    "    for number in range(int(target)):\n"
    "        with open('%s/%d' % (sys.argv[2], number), 'wb') as file:\n"
    "            file.write(b'x' * (1 << 20))\n"
    "attempt(fill)"
)


def run_outside(script: str, *arguments: str) -> str:
    """Run an attack without any wall, to see that it is one; return what it printed."""
    command = [sys.executable, "-I", "-S", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    return done.stdout
