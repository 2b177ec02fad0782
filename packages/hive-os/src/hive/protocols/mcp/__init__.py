"""The door for tools: MCP servers behind the gate, and every agent as a server of its own.

Written for the Model Context Protocol 2026-07-28, with 2025-11-25 and older bridged on either side.
"""
