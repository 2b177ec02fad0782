-- Where clients want to hear of their tasks. URL, token and credentials are sealed with the node's key.
CREATE TABLE push_config (
    task       text        NOT NULL,
    id         text        NOT NULL,
    owner      text        NOT NULL,
    sealed     bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (task, id)
);
CREATE INDEX push_config_age ON push_config (created_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON push_config TO hive_app;
