-- What an agent keeps for one owner, by name. It goes with the agent; replacing the agent leaves it.
CREATE TABLE agent_value (
    agent text NOT NULL REFERENCES agent (name) ON DELETE CASCADE,
    owner text NOT NULL,
    key text NOT NULL,
    value bytea NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (agent, owner, key)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON agent_value TO hive_app;
