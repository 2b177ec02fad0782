"""Components compiled ahead of time: by digest, in a sandbox that is thrown away, believed only with the node's own mark.

What a compiler wrote is machine code that will run unchecked inside a host process, so a file whose mark does not fit (a
changed byte, another node's key, another version or configuration) is compiled again and never loaded.
"""

import hashlib
import hmac
import os
import platform
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Final

from anyio import to_thread

import hive
from hive.core.errors import SandboxError, SpecError, TierUnavailableError
from hive.core.grant import Access, Limits, PathRule
from hive.core.ids import SandboxId
from hive.execution.component.engine import CONFIGURATION
from hive.execution.ports import Opening, Prepared, SandboxDriver
from hive.execution.source_copy import discard
from hive_guest import environment as guest

PACKAGE: Final = "wasmtime"
COMPONENT_MAX_BYTES: Final = 256 << 20
COMPILE_TIMEOUT_S: Final = 600.0
COMPILE_MEMORY_BYTES: Final = 4 << 30
COMPILED_MAX_BYTES: Final = 1 << 30
LIBRARIES: Final = "/opt/hive/libraries"
_UNUSABLE: Final = 3
_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Where wasmtime lies on this machine, and which it is."""

    folder: Path
    version: str

    @property
    def mounts(self) -> tuple[PathRule, ...]:
        """Return what a program of the wasm tier reads besides its interpreter: the library and Hive's code."""
        return tuple(
            PathRule(host=folder, inside=f"{LIBRARIES}/{Path(folder).name}")
            for folder in self.reads
        )

    @property
    def reads(self) -> tuple[str, ...]:
        """Return the same folders at their own places."""
        return (str(self.folder), str(Path(hive.__file__).parent), guest.FOLDER)

    def argv(self, module: str, *arguments: str) -> tuple[str, ...]:
        """Return the command that runs a module of `hive.execution.component` where `mounts` are mounted."""
        return _command([LIBRARIES], module, arguments)

    def argv_in_place(self, module: str, *arguments: str) -> tuple[str, ...]:
        """Return the same command where `reads` are mounted."""
        above = dict.fromkeys(str(Path(folder).parent) for folder in self.reads)
        return _command(list(above), module, arguments)


def _command(above: list[str], module: str, arguments: Sequence[str]) -> tuple[str, ...]:
    boot = (
        f"import sys; sys.path[:0] = {above!r}; "
        f"from hive.execution.component.{module} import main; sys.exit(main(sys.argv[1:]))"
    )
    return (sys.executable, "-I", "-S", "-X", "utf8", "-u", "-c", boot, *arguments)


def standing_alone(prepared: Prepared, paths: Sequence[PathRule]) -> Prepared:
    """Turn a compiled component into what any tier can spawn: a process that runs it, with WASI for granted paths.

    Raises:
        TierUnavailableError: wasmtime is not installed.

    """
    runtime, compiled = find_runtime(), prepared.argv[0]
    given = [word for rule in paths for word in (rule.inside, rule.access.value)]
    return replace(
        prepared,
        argv=runtime.argv_in_place("alone", compiled, *given),
        reads=(compiled, *runtime.reads),
    )


def find_runtime() -> Runtime:
    """Find wasmtime without importing it.

    Raises:
        TierUnavailableError: it is not installed.

    """
    try:
        found = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        raise TierUnavailableError(
            "The wasm tier is not available.",
            why="wasmtime is not installed",
            fix="Install it with Hive: `pip install 'hive-os[wasm]'`.",
        ) from None
    return Runtime(folder=Path(str(found.locate_file(PACKAGE))), version=found.version)


async def compile_component(
    driver: SandboxDriver,
    runtime: Runtime,
    source: Path,
    target: Path,
    *,
    work: Path,
    on_line: Callable[[str], None],
) -> None:
    """Compile `source` into the file `target` behind the walls of `driver`; `work` is an empty folder for it.

    Raises:
        SpecError: it is no component.
        SandboxError: the compiler did not come to an end.

    """
    gate, out = work / "gate", work / "out"
    gate.mkdir(mode=0o711)
    out.mkdir(mode=0o777)
    out.chmod(0o777)
    told: list[str] = []

    def line(text: str) -> None:
        told.append(text)
        on_line(text)

    opening = Opening(
        sandbox_id=SandboxId(f"compile-{secrets.token_hex(6)}"),
        gate_directory=str(gate),
        environment={},
    )
    status = await driver.run(
        runtime.argv("compiler", "/in/component.wasm", "/out/component.cwasm"),
        mounts=(
            *runtime.mounts,
            PathRule(host=str(source), inside="/in/component.wasm"),
            PathRule(host=str(out), inside="/out", access=Access.WRITE),
        ),
        opening=opening,
        limits=Limits(memory_bytes=COMPILE_MEMORY_BYTES, disk_bytes=COMPILED_MAX_BYTES),
        timeout_s=COMPILE_TIMEOUT_S,
        on_line=line,
    )
    if status:
        raise _not_compiled(source, status, told)
    (out / "component.cwasm").rename(target)


def _not_compiled(source: Path, status: int, told: list[str]) -> SpecError | SandboxError:
    if status != _UNUSABLE:
        return SandboxError(
            "The compiler failed.", why=f"Its exit status is {status}; it said: {told[-5:]}"
        )
    return SpecError(
        f"{source.name} is no component that can run here.",
        why=" ".join(told)[-1000:],
        fix="Build it with `hive build`, or see docs/how-to/build-a-component.md.",
    )


class Components:
    """The folder `components/` of a node's state: compiled components, each with its mark."""

    def __init__(self, state: Path, driver: SandboxDriver) -> None:
        self._top = state / "components"
        self._driver = driver

    async def ensure(self, source: Path, *, on_line: Callable[[str], None]) -> Path:
        """Return the compiled form of a component, from the folder or from the compiler.

        Raises:
            TierUnavailableError: wasmtime is not installed.
            SpecError: it is no component, or too large.
            SandboxError: the compiler did not come to an end.

        """
        runtime = find_runtime()
        size = (await to_thread.run_sync(source.stat)).st_size
        if size > COMPONENT_MAX_BYTES:
            raise SpecError(
                f"{source.name} is too large.",
                why=f"It has {size} bytes; the limit is {COMPONENT_MAX_BYTES}.",
            )
        name = await to_thread.run_sync(_name, source, runtime)
        place = self._top / f"{name}.cwasm"
        if await to_thread.run_sync(self._stands, place):
            return place
        on_line(f"compiling {source.name} ({size / (1 << 20):.1f} MiB); kept for the next time")
        await self._make(runtime, source, place, on_line)
        return place

    async def _make(
        self, runtime: Runtime, source: Path, place: Path, on_line: Callable[[str], None]
    ) -> None:
        work = self._top / f".work-{secrets.token_hex(8)}"
        work.mkdir(mode=0o700, parents=True)
        try:
            made = work / "made"
            await compile_component(self._driver, runtime, source, made, work=work, on_line=on_line)
            await to_thread.run_sync(self._keep, made, place)
        finally:
            await to_thread.run_sync(discard, work)

    def _keep(self, made: Path, place: Path) -> None:
        """Take the file over: from here on nobody but the node writes it."""
        taken = made.with_name("taken")
        with made.open("rb") as source, taken.open("xb") as target:
            while piece := source.read(1 << 20):
                target.write(piece)
            target.flush()
            os.fsync(target.fileno())
        taken.chmod(0o444)
        mark = made.with_name("mark")
        mark.write_bytes(self._mark(taken, place.stem))
        mark.rename(place.with_suffix(".mark"))
        taken.rename(place)

    def _stands(self, place: Path) -> bool:
        try:
            kept = place.with_suffix(".mark").read_bytes()
            return hmac.compare_digest(kept, self._mark(place, place.stem))
        except FileNotFoundError:
            return False

    def _mark(self, file: Path, name: str) -> bytes:
        """Return what only this node can write beside a file: over its contents and what it is the compilation of."""
        mark = hmac.new(self._key(), name.encode() + b"\0", hashlib.sha256)
        with file.open("rb") as stream:
            while piece := stream.read(1 << 20):
                mark.update(piece)
        return mark.digest()

    def _key(self) -> bytes:
        path = self._top / "key"
        if not path.exists():
            self._top.mkdir(mode=0o700, parents=True, exist_ok=True)
            coming = self._top / f".key-{secrets.token_hex(8)}"
            descriptor = os.open(coming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            try:
                os.link(coming, path)
            except FileExistsError:
                pass
            finally:
                coming.unlink()
        return path.read_bytes()


def _name(source: Path, runtime: Runtime) -> str:
    """Return the key of a compiled component: the source, the compiler, its configuration, the processor."""
    with source.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    told = "\n".join((content, runtime.version, CONFIGURATION, platform.machine(), _features()))
    return hashlib.sha256(told.encode()).hexdigest()


def _features() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
