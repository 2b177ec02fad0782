"""`hive build`: an agent's source becomes a WebAssembly component that `hive run` takes."""

from pathlib import Path

import click

from hive.cli.session import Options, moving, say, shared_options, show, show_json
from hive.core.errors import BadInputError

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    help="Make a WebAssembly component of an agent: SOURCE is ./agent.py:attribute, a folder, or ./agent.js.",
    epilog="Example:  hive build ./agent.py:agent && hive run ./agent.wasm",
)
@click.argument("source", required=False, default="")
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it (default: NAME.wasm).",
)
@click.option(
    "--with",
    "folders",
    type=_FOLDER,
    multiple=True,
    help="A folder of pure Python packages to import from (pip install --target FOLDER ...).",
)
@click.option(
    "--files",
    is_flag=True,
    help="Let it use files that it is granted: it runs in the process tier then (Python).",
)
@click.option("--toolchain", type=_FOLDER, help="A folder with node_modules, for JavaScript.")
@click.option("--wit", is_flag=True, help="Print the world of an agent, for other languages.")
@shared_options
def build(
    *,
    options: Options,
    source: str,
    out: Path | None,
    folders: tuple[Path, ...],
    toolchain: Path | None,
    files: bool,
    wit: bool,
) -> int:
    """Build a component."""
    from hive.cli import node_entry
    from hive.execution.component_build import WIT, BuildOrder

    if wit:
        show(WIT.read_text().rstrip())
        return 0
    if not source:
        raise BadInputError("No source is named.", fix="hive build ./agent.py:agent")
    target = out or _target(source)
    order = BuildOrder(
        source=source,
        target=target.resolve(),
        cwd=Path.cwd(),
        home=Path.home(),
        folders=folders,
        toolchain=toolchain,
        files=files,
    )
    with moving(options, f"building {target.name}") as line:
        built = node_entry.build(options.settings(), order, line.update)
    if options.json:
        show_json({"path": str(built.path), "bytes": built.size_bytes, "language": built.language})
        return 0
    show(f"{target}  {built.size_bytes / (1 << 20):.1f} MiB, from {built.language}")
    say(
        options,
        f"  next:  hive run ./{target}"
        if not target.is_absolute()
        else f"  next:  hive run {target}",
    )
    return 0


def _target(source: str) -> Path:
    path = Path(source.partition(":")[0])
    stem = path.stem if path.suffix else path.resolve().name
    return Path(f"{stem or 'agent'}.wasm")
