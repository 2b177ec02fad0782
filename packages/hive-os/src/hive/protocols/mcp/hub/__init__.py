"""The hub: which MCP servers there are, what they list, and the connections to them."""
