"""Rules enforced by BPF: raw tracepoints where an open and an exec have ended, cgroup hooks where a connection begins."""

import contextlib
import ipaddress
import itertools
import os
import platform
import select
import struct
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from hive.core.errors import SandboxError, TierUnavailableError
from hive.core.ids import SandboxId, plain_text
from hive.core.kernel_rules import KernelAct, KernelAnswer, KernelRule
from hive.execution.enforcement.library import BpfError, BpfObject, is_refused
from hive.execution.enforcement.ports import KernelEvent
from hive.execution.enforcement.rows import ANY_GROUP, Rows, places_of, rows_of
from hive.execution.walls import cgroups

OBJECTS: Final = Path(__file__).parents[1] / "bpf"
REACHES: Final = ("connect4", "connect6", "sendmsg4", "sendmsg6", "socket_made")
RAW_SOCKET: Final = "no raw socket"
POLL_MS: Final = 200
GONE_MAX: Final = 1024
EVERY_GROUP: Final = 0
_EVENT: Final = struct.Struct("=QQQQIIIIIHBB16s16s")
_ACTS: Final = MappingProxyType(
    {4: KernelAct.EXECUTE, 5: KernelAct.EXECUTE, 8: KernelAct.CONNECT, 16: KernelAct.CONNECT}
)
_ANSWERS: Final = (KernelAnswer.REPORT, KernelAnswer.DENY, KernelAnswer.KILL)
_INET: Final = 2
_LSM_PROGRAM: Final = 29
_LSM_ATTACH: Final = 27


class BpfEnforcer:
    """Loads the programs once; guards cgroups by rows in their maps.

    A file that a rule denies has been opened when that is seen, so whoever opened it is killed all the same.
    """

    form = "guard"
    opens: Sequence[str] = ("after_open", "after_exec")

    def __init__(self, *, told: Callable[[KernelEvent], None] = lambda _event: None) -> None:
        self.told = told
        self._object: BpfObject | None = None
        self._groups: dict[int, SandboxId] = {}
        self._names: dict[int, KernelRule] = {}
        self._numbers = itertools.count(1)
        self._house: BpfGuard | None = None
        self._known: Counter[bytes] = Counter()
        self._gone: deque[int] = deque()
        self._left: deque[int] = deque()
        self._lock = threading.Lock()
        self._hearing = threading.RLock()
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Load and attach.

        Raises:
            TierUnavailableError: this machine does not let it.

        """
        above = cgroups.parents().marks
        if not above:
            raise _unavailable("no cgroup of version 2 may be written here")
        try:
            self._object = made = BpfObject(OBJECTS / f"{self.form}.{platform.machine()}.o")
            for name in self.opens:
                made.attach(name)
            folder = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for name in REACHES:
                    made.attach(name, folder)
            finally:
                os.close(folder)
            made.hear(made.map("events"), self._heard)
        except (BpfError, OSError) as error:
            self.__exit__()
            raise _unavailable(str(error)) from error
        self._thread = threading.Thread(
            target=self._listen, args=(made.waits_on(),), name="enforcer", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Take everything out of the kernel."""
        self._ends.set()
        if self._thread is not None:
            self._thread.join()
        with self._hearing:
            held, self._object = self._object, None
            if held is not None:
                held.close()

    def protect(self, rules: Sequence[KernelRule]) -> None:
        """Let rules stand for every sandbox; their paths are the host's.

        Raises:
            SandboxError: the kernel does not take one.

        """
        if self._object is None:
            raise SandboxError("The kernel's guard was taken down.")
        if self._house is None:
            self._house = BpfGuard(self, self._object, EVERY_GROUP, "")
        self._house.change(rules)

    def guard(
        self, sandbox: SandboxId, group: str, pid: int, rules: Sequence[KernelRule]
    ) -> "BpfGuard":
        """Let rules stand for the processes of a cgroup.

        Raises:
            SandboxError: the kernel does not take one.

        """
        if self._object is None:
            raise SandboxError("The kernel's guard was taken down.")
        number = _group_of(group, pid)
        self._groups[number] = sandbox
        made = BpfGuard(self, self._object, number, f"/proc/{pid}/root")
        try:
            made.change(rules)
            self._object.put(self._object.map("guarded"), struct.pack("=Q", number), b"\1\0\0\0")
        except (BpfError, SandboxError) as error:
            made.lift()
            if isinstance(error, SandboxError):
                raise
            raise SandboxError("The sandbox cannot be guarded.", why=str(error)) from error
        return made

    @property
    def lost(self) -> int:
        """Return how many events did not fit."""
        if self._object is None:
            return 0
        found = self._object.value(self._object.map("lost"), bytes(4), 8)
        return 0 if found is None else int.from_bytes(found, "little")

    def named(self, rule: KernelRule) -> int:
        """Give a rule a number that its events bear."""
        with self._lock:
            number = next(self._numbers)
            self._names[number] = rule
            return number

    def forget(self, numbers: Sequence[int]) -> None:
        """Forget numbers whose rules are gone, but not at once: an event may still be on its way."""
        with self._lock:
            self._gone.extend(numbers)
            while len(self._gone) > GONE_MAX:
                self._names.pop(self._gone.popleft(), None)

    def know(self, held: BpfObject, places: Iterable[bytes]) -> None:
        """Mark places about which some rule is: the kernel looks for rules at these alone. Raises BpfError."""
        with self._lock:
            for place in places:
                if not self._known[place]:
                    held.put(held.map("places"), ANY_GROUP + place, bytes(8))
                self._known[place] += 1

    def unknow(self, held: BpfObject, places: Iterable[bytes]) -> None:
        """Take marks away that no rule needs any more."""
        with self._lock:
            for place in places:
                self._known[place] -= 1
                if self._known[place] <= 0:
                    del self._known[place]
                    held.take(held.map("places"), ANY_GROUP + place)

    def let_go(self, group: int) -> None:
        """Forget a cgroup, when as many others are gone: an event may still be on its way."""
        self._left.append(group)
        while len(self._left) > GONE_MAX:
            self._groups.pop(self._left.popleft(), None)

    def settle(self) -> None:
        """Hand on every event that the kernel has written by now."""
        with self._hearing:
            if self._object is not None:
                self._object.consume()

    def _listen(self, waits_on: int) -> None:
        waiting = select.poll()
        waiting.register(waits_on, select.POLLIN)
        while not self._ends.is_set():
            if waiting.poll(POLL_MS):
                self.settle()

    def _heard(self, data: bytes) -> None:
        began, told, group, inode, device, rule, pid, act, answer, *net, address, program = (
            _EVENT.unpack(data[: _EVENT.size])
        )
        sandbox = self._groups.get(group)
        if sandbox is None:
            return
        kind = _ACTS.get(act) or (KernelAct.WRITE if act & 2 else KernelAct.OPEN)
        with self._lock:
            named = self._names.get(rule)
        event = KernelEvent(
            sandbox=sandbox,
            rule=_named(named, rule),
            act=kind,
            answer=_ANSWERS[min(answer, 2)],
            program=plain_text(program.rstrip(b"\0").decode("utf-8", "replace")),
            pid=pid,
            what=_address(net, address) if act & 24 else _file(named, inode, device),
            taken_us=(told - began) / 1000,
        )
        with contextlib.suppress(Exception):  # whoever listens must not stop the listening
            self.told(event)


class LsmEnforcer(BpfEnforcer):
    """The same at the hooks of the kernel's security modules: a file is judged before it is opened, and can be denied."""

    form = "guard_lsm"
    opens = ("before_open", "before_exec")

    def __enter__(self) -> Self:
        """Load and attach.

        Raises:
            TierUnavailableError: this machine does not let it.

        """
        if is_refused(_LSM_PROGRAM, _LSM_ATTACH):
            raise _unavailable("this machine refuses programs at the hooks of security modules")
        return super().__enter__()


class BpfGuard:
    """The rows of one cgroup."""

    def __init__(self, enforcer: BpfEnforcer, held: BpfObject, group: int, root: str) -> None:
        self._enforcer = enforcer
        self._held = held
        self._group = group
        self._root = root
        self._rows = Rows()
        self._numbers: tuple[int, ...] = ()

    def change(self, rules: Sequence[KernelRule]) -> None:
        """Put other rules in their place: new rows are written before old ones go.

        Raises:
            SandboxError: the kernel does not take one; what stood before stands.

        """
        numbered = [(self._enforcer.named(rule), rule) for rule in rules]
        numbers = tuple(number for number, _ in numbered)
        try:
            rows = rows_of(numbered, self._group, self._root)
            self._enforcer.know(self._held, places_of(rows))
            for name in ("programs", "places", "networks"):
                table = self._held.map(name)
                for key, value in getattr(rows, name).items():
                    self._held.put(table, key, value)
        except BpfError as error:
            self._enforcer.forget(numbers)
            raise SandboxError("The kernel does not take a rule.", why=str(error)) from error
        before, gone = self._rows, self._numbers
        self._rows, self._numbers = rows, numbers
        for name in ("places", "networks", "programs"):
            self._drop(name, getattr(before, name).keys() - getattr(rows, name).keys())
        self._enforcer.unknow(self._held, places_of(before))
        self._enforcer.forget(gone)

    def lift(self) -> None:
        """Let go; twice is no error."""
        with contextlib.suppress(BpfError):
            self._held.take(self._held.map("guarded"), struct.pack("=Q", self._group))
            for name in ("places", "networks", "programs"):
                self._drop(name, getattr(self._rows, name).keys())
            self._enforcer.unknow(self._held, places_of(self._rows))
        self._rows = Rows()
        self._enforcer.forget(self._numbers)
        self._enforcer.let_go(self._group)

    def _drop(self, name: str, keys: "set[bytes] | Sequence[bytes]") -> None:
        table = self._held.map(name)
        for key in keys:
            self._held.take(table, key)


def _group_of(group: str, pid: int) -> int:
    """Return a cgroup's number, having seen that the process is in it. Raises SandboxError."""
    try:
        if str(pid) in Path(group, "cgroup.procs").read_text().split():
            return Path(group).stat().st_ino
        why = "Its first process is not in its cgroup."
    except OSError as error:
        why = f"Its cgroup cannot be read: {error.strerror}."
    raise SandboxError("The sandbox cannot be guarded.", why=why, fix="Try again; `hive doctor`.")


def _named(rule: KernelRule | None, number: int) -> str:
    if rule is not None:
        return rule.name
    return RAW_SOCKET if number == 0 else "a rule that is gone"


def _file(rule: KernelRule | None, inode: int, device: int) -> str:
    """Say which file it was: by the rule, since the kernel knows it by its inode."""
    met = f"inode {inode} of device {device:#x}"
    if rule is None:
        return met
    return f"{'below ' if rule.below else ''}{rule.path} ({met})"


def _address(net: Sequence[int], address: bytes) -> str:
    port, protocol, family = net
    host = ipaddress.ip_address(address[12:] if family == _INET else address)
    kind = {6: "tcp", 17: "udp"}.get(protocol, f"protocol {protocol}")
    return f"{kind} {host}:{port}"


def _unavailable(why: str) -> TierUnavailableError:
    return TierUnavailableError(
        "The kernel's guard is not available.", why=why, fix="Run `hive doctor`."
    )
