"""Real servers as children of the node: found, hardened, started, watched, stopped.

Nothing here speaks an engine's protocol: that is what `hive.engines.drivers` is for.
"""
