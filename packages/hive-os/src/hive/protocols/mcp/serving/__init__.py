"""What stands behind an endpoint of MCP that is no tool of others: a hosted agent, the node, long work.

`tasks` is the extension for long work, on a port that anybody can stand behind; `running` keeps such work
in memory. `agent` is a hosted agent as a server, `node` the node itself for its operators.
"""
