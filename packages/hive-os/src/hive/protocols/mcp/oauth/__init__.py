"""OAuth on both sides of the node: who may use its MCP endpoints, and how it logs in at servers elsewhere."""
