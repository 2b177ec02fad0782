"""The one configuration with which components are compiled and run; a compiled file fits no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import wasmtime

CONFIGURATION: Final = "epoch+fuel+cow;reserve=1g;guard=64k;pool=4000"
"""Names what `make_engine` sets: part of the key under which compiled components are kept."""

SLOTS: Final = 4000
MEMORY_MAX_BYTES: Final = 1 << 30
GUARD_BYTES: Final = 64 << 10
STACK_BYTES: Final = 512 << 10
TICK_S: Final = 0.002
FUEL_PER_CPU_S: Final = 2_000_000_000
"""Instructions that count as one second of a processor."""


def make_engine(*, pooled: bool = True) -> wasmtime.Engine:
    """Make an engine; `pooled` reserves places for instances, which the compiler does not need."""
    import wasmtime

    config = wasmtime.Config()
    config.epoch_interruption = True
    config.consume_fuel = True
    config.memory_init_cow = True
    config.memory_reservation = MEMORY_MAX_BYTES
    config.memory_guard_size = GUARD_BYTES
    config.max_wasm_stack = STACK_BYTES
    config.wasm_component_model = True
    if pooled:
        _pool(config)
    return wasmtime.Engine(config)


def _pool(config: wasmtime.Config) -> None:
    """Let instances take their memories from places that are reserved once (the binding does not wrap it)."""
    from wasmtime import _bindings

    calls: Any = _bindings
    pool = calls.wasmtime_pooling_allocation_config_new()
    for name, value in {
        "total_component_instances": SLOTS,
        "total_core_instances": 8 * SLOTS,
        "total_memories": SLOTS,
        "total_tables": 2 * SLOTS,
        "max_core_instances_per_component": 64,
        "max_memories_per_component": 4,
        "max_tables_per_component": 64,
        "max_core_instance_size": 4 << 20,
        "max_component_instance_size": 4 << 20,
        "table_elements": 100_000,
        "max_memory_size": MEMORY_MAX_BYTES,
        "max_unused_warm_slots": 16,
    }.items():
        getattr(calls, f"wasmtime_pooling_allocation_config_{name}_set")(pool, value)
    calls.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    calls.wasmtime_pooling_allocation_config_delete(pool)
