-- Agents that are shut in. A row stays until a person lets the agent out.
CREATE TABLE quarantine (
    agent  text        PRIMARY KEY,
    at     timestamptz NOT NULL,
    by     text        NOT NULL,
    reason text        NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON quarantine TO hive_app;
