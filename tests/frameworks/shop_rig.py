"""The tool server of `tool_shop.py` as a process, and what it was asked."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class RunningShop:
    """The tool server, and what it was asked since somebody looked."""

    url: str
    file: Path

    def heard(self) -> list[Any]:
        """Return the calls since the last look, each as name and arguments."""
        lines = self.file.read_text().splitlines()
        self.file.write_text("")
        return [json.loads(line) for line in lines]


@contextmanager
def running_shop(file: Path) -> Iterator[RunningShop]:
    """Run the server; `file` gets what it is asked."""
    file.touch()
    command = [sys.executable, "-m", "tests.frameworks.tool_shop", str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield RunningShop(process.stdout.readline().strip(), file)
        finally:
            process.kill()
