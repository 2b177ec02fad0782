-- The agents that an operator deployed: what they are, and the grant that was confirmed for them.
CREATE TABLE agent (
    name text PRIMARY KEY,
    spec jsonb NOT NULL,
    agent_grant jsonb NOT NULL,
    grant_digest text NOT NULL,
    stopped boolean NOT NULL DEFAULT false,
    deployed_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON agent TO hive_app;
