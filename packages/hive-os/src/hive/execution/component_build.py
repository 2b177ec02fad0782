"""From an agent's source to a component: componentize-py or componentize-js, behind the walls and without a network.

What is built sees the same files that a sandbox would see. The tools run the source once inside WebAssembly to keep its state
after import, so an import that needs a host, a file or a thread fails here and not later.
"""

import secrets
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from anyio import to_thread

from hive.core.errors import BuildError, SpecError
from hive.core.grant import Access, Limits, PathRule
from hive.core.ids import SandboxId
from hive.core.spec import StartKind
from hive.execution.ports import Opening, SandboxDriver
from hive.execution.source import find_source
from hive.execution.source_copy import discard, stage

WIT: Final = Path(__file__).parent / "component" / "agent.wit"
BUILD_TIMEOUT_S: Final = 900.0
BUILD_MEMORY_BYTES: Final = 4 << 30
BUILD_DISK_BYTES: Final = 1 << 30
ATTRIBUTE: Final = "agent"
_PYTHON_TOOL: Final = "componentize_py"
_JAVASCRIPT_TOOL: Final = "@bytecodealliance/componentize-js"
_SHIMS: Final = Path(__file__).parent / "component" / "python"
_PYTHON_BOOT: Final = (
    "import sys; sys.path[:0] = ['/tool']; from componentize_py import script; "
    "sys.argv = ['componentize-py', *sys.argv[1:]]; sys.exit(script())"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOrder:
    """What to build: a source as `hive run` takes it, more folders to import from, and where to write.

    With `files` it keeps WASI, so it runs in a tier that has files, and not in the wasm tier.
    """

    source: str
    target: Path
    cwd: Path
    home: Path
    folders: tuple[Path, ...] = ()
    toolchain: Path | None = None
    files: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltComponent:
    """A component on disk."""

    path: Path
    size_bytes: int
    language: str


async def build_component(
    order: BuildOrder, driver: SandboxDriver, *, on_line: Callable[[str], None]
) -> BuiltComponent:
    """Build a component; the target appears whole or not at all.

    Raises:
        SpecError: the source cannot be used.
        BuildError: the tool is missing or said no.

    """
    work = order.target.parent / f".{order.target.name}-{secrets.token_hex(6)}"
    await to_thread.run_sync(work.mkdir)
    try:
        recipe = _javascript if order.source.endswith((".js", ".mjs")) else _python
        argv, mounts, language = await to_thread.run_sync(recipe, order, work)
        (work / "out").mkdir(mode=0o777)
        (work / "out").chmod(0o777)
        (work / "gate").mkdir(mode=0o711)
        told: list[str] = []

        def line(text: str) -> None:
            told.append(text)
            on_line(text)

        out = PathRule(host=str(work / "out"), inside="/out", access=Access.WRITE)
        status = await driver.run(
            argv,
            mounts=(*mounts, out, PathRule(host=str(WIT), inside="/wit/agent.wit")),
            opening=Opening(
                sandbox_id=SandboxId(f"build-{secrets.token_hex(6)}"),
                gate_directory=str(work / "gate"),
                environment={},
            ),
            limits=Limits(memory_bytes=BUILD_MEMORY_BYTES, disk_bytes=BUILD_DISK_BYTES),
            timeout_s=BUILD_TIMEOUT_S,
            on_line=line,
        )
        made = work / "out" / "agent.wasm"
        if status != 0 or not made.is_file():
            raise BuildError(
                "The component was not built.",
                why=f"{language} tools ended with {status}: {' '.join(told)[-1500:]}",
                fix="Import only what is pure Python or JavaScript, and reach hosts, models and tools in the function.",
            )
        made.rename(order.target)
    finally:
        await to_thread.run_sync(discard, work)
    size = (await to_thread.run_sync(order.target.stat)).st_size
    return BuiltComponent(path=order.target, size_bytes=size, language=language)


def _python(order: BuildOrder, work: Path) -> tuple[Sequence[str], Sequence[PathRule], str]:
    try:
        tool = Path(str(metadata.distribution("componentize-py").locate_file(_PYTHON_TOOL)))
    except metadata.PackageNotFoundError:
        raise BuildError(
            "Components of Python agents cannot be built here.",
            why="componentize-py is not installed",
            fix="Install it with Hive: `pip install 'hive-os[wasm]'`.",
        ) from None
    found = find_source(order.source, cwd=order.cwd, home=order.home)
    entry = found.spec.entry
    if entry.kind is not StartKind.PYTHON or found.visible is None:
        raise SpecError(
            f"{order.source} cannot become a component.",
            why="A component is built from a Python function or a JavaScript file.",
        )
    source = stage(found.visible, work)
    entries = work / "entry"
    shutil.copytree(_SHIMS, entries)
    module = entry.path.removesuffix(".py").replace("/", ".")
    name = entry.attribute or ATTRIBUTE
    (entries / "hive_agent_named.py").write_text(f"from {module} import {name} as AGENT\n")
    more = [
        PathRule(host=str(folder.resolve()), inside=f"/more/{number}")
        for number, folder in enumerate(order.folders)
    ]
    paths = [
        word
        for inside in ("/entry", "/source", *(one.inside for one in more))
        for word in ("-p", inside)
    ]
    wasi = () if order.files else ("-s",)
    command = ("componentize", *wasi, *paths, "hive_entry", "-o", "/out/agent.wasm")
    argv = (
        sys.executable, "-I", "-S", "-X", "utf8", "-c", _PYTHON_BOOT,
        "-q", "-d", "/wit/agent.wit", "-w", "agent", *command,
    )  # fmt: skip
    mounts = (
        PathRule(host=str(tool), inside=f"/tool/{_PYTHON_TOOL}"),
        PathRule(host=str(entries), inside="/entry"),
        PathRule(host=str(source), inside="/source"),
        *more,
    )
    return argv, mounts, "Python"


def _javascript(order: BuildOrder, work: Path) -> tuple[Sequence[str], Sequence[PathRule], str]:
    source = (order.cwd / order.source).resolve()
    if not source.is_file():
        raise SpecError(f"{order.source} does not exist.", why=f"Looked in {source.parent}.")
    node = shutil.which("node")
    if node is None:
        raise BuildError(
            "Components of JavaScript agents cannot be built here.",
            why="node is not installed",
            fix="Install Node.js 20 or newer.",
        )
    modules = _modules(order.toolchain or source.parent)
    script = work / "build.mjs"
    shutil.copyfile(Path(__file__).parent / "component" / "javascript.mjs", script)
    shutil.copyfile(source, work / "agent.js")
    return (
        (node, "/tool/build.mjs", "/source/agent.js", "/wit/agent.wit", "/out/agent.wasm"),
        (
            PathRule(host=str(modules), inside="/tool/node_modules"),
            PathRule(host=str(script), inside="/tool/build.mjs"),
            PathRule(host=str(work / "agent.js"), inside="/source/agent.js"),
        ),
        "JavaScript",
    )


def _modules(folder: Path) -> Path:
    for place in (folder.resolve(), *folder.resolve().parents):
        if (place / "node_modules" / _JAVASCRIPT_TOOL).is_dir():
            return place / "node_modules"
    raise BuildError(
        "Components of JavaScript agents cannot be built here.",
        why=f"{_JAVASCRIPT_TOOL} is in no node_modules from {folder} upwards",
        fix=f"Run `npm install {_JAVASCRIPT_TOOL}@0.23.0` beside the agent, or name a folder with `--toolchain`.",
    )
