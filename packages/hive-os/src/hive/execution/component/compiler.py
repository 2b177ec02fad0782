"""Compiles one component ahead of time: `python -c "..." IN OUT`, in a sandbox of its own that is thrown away.

A component's code is input of a compiler here; what comes out is believed by nobody until the node has put its mark on it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from hive.execution.component.engine import make_engine

EXIT_UNUSABLE: Final = 3


def main(arguments: list[str]) -> int:
    """Compile; exit status 3 and one line of standard error where it is no component."""
    import wasmtime
    from wasmtime import component as components

    source, target = arguments
    try:
        compiled = components.Component.from_file(make_engine(pooled=False), source)
    except wasmtime.WasmtimeError as error:
        sys.stderr.write(str(error).strip()[:2000] + "\n")
        return EXIT_UNUSABLE
    part = Path(f"{target}.part")
    with part.open("wb") as file:
        file.write(compiled.serialize())
        file.flush()
        os.fsync(file.fileno())
    part.rename(target)
    return 0
