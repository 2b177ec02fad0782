"""Where spans may be kept, by URL scheme; the first row is the default."""

from typing import Final

from hive.core.drivers import DriverRow, Table
from hive.observability.ports import SpanStore

SPAN_STORES: Final[Table[SpanStore]] = Table(
    port="spans",
    setting="HIVE_SPANS_URL",
    rows=(
        DriverRow(
            scheme="postgresql",
            target="hive.observability.drivers.postgresql:PostgresqlSpans",
            summary="beside the ledger, in the node's own database",
        ),
        DriverRow(
            scheme="memory",
            target="hive.observability.drivers.memory:MemorySpans",
            summary="in the node's memory, for tests: gone with the node",
        ),
    ),
)

COLLECTORS: Final[Table[SpanStore]] = Table(
    port="collector",
    setting="HIVE_OTLP_ENDPOINT",
    rows=(
        DriverRow(
            scheme="http",
            target="hive.observability.drivers.otlp:OtlpSpans",
            summary="any OpenTelemetry collector, OTLP over HTTP",
            extra="otel",
        ),
        DriverRow(
            scheme="https",
            target="hive.observability.drivers.otlp:OtlpSpans",
            summary="any OpenTelemetry collector, OTLP over HTTPS",
            extra="otel",
        ),
    ),
)
