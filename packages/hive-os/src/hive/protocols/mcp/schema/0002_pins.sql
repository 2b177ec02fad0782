-- What is known of each tool's definition: the form that may be used, and the form that waits for a person.
CREATE TABLE mcp_pin (
    server       text        NOT NULL,
    tool         text        NOT NULL,
    state        text        NOT NULL,
    digest       text        NOT NULL,
    definition   bytea       NOT NULL,
    approved_digest     text NOT NULL,
    approved_definition bytea,
    approved_by  text        NOT NULL,
    flags        text        NOT NULL,
    seen_at      timestamptz NOT NULL,
    decided_at   timestamptz,
    PRIMARY KEY (server, tool)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON mcp_pin TO hive_app;
