"""A process that opens both engines, says so, and waits to be killed. Run by the tests beside it."""

import sys
from pathlib import Path

import anyio

from hive.engines import Migration, open_engines
from hive.testing.engines import settings_in

TABLE = Migration(
    "example/0001_things",
    "CREATE TABLE things (id int PRIMARY KEY); GRANT SELECT, INSERT ON things TO hive_app;",
)


async def main(state: Path) -> None:
    async with open_engines(settings_in(state), migrations=[TABLE]) as engines:
        reports = [await engines.database.report(), await engines.messaging.bus.report()]
        sys.stdout.write(" ".join(str(report.pids[0]) for report in reports) + "\n")
        sys.stdout.flush()
        for number in range(1_000_000):
            await engines.database.execute("INSERT INTO things VALUES ($1)", number)
            await engines.messaging.events.append("things", str(number).encode())
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
