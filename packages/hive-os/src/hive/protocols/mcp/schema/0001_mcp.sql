-- The MCP servers that an operator declared, and what each listed last. A secret is never here: `spec` names
-- entries of the vault.
CREATE TABLE mcp_connection (
    name         text        PRIMARY KEY,
    transport    text        NOT NULL,
    spec         text        NOT NULL,
    enabled      boolean     NOT NULL,
    revision     text        NOT NULL,
    described    text        NOT NULL,
    added_at     timestamptz NOT NULL,
    listed_at    timestamptz
);
CREATE TABLE mcp_tool (
    connection   text        NOT NULL REFERENCES mcp_connection ON DELETE CASCADE,
    name         text        NOT NULL,
    position     integer     NOT NULL,
    digest       text        NOT NULL,
    definition   bytea       NOT NULL,
    PRIMARY KEY (connection, name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON mcp_connection, mcp_tool TO hive_app;
