"""What every layer shares: the call and its parts, the grant, tasks, errors, clock, settings, tables.

Plain Python: nothing here opens a socket, reads a file (but `settings`) or knows an engine.
"""
