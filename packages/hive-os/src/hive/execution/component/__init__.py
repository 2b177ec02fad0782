"""What runs inside the sandbox of the wasm tier: the compiler, the host process, its instances and their imports.

Standard library, `wasmtime` and `hive_guest` only; nothing here is imported by the node but `engine`'s names.
"""
