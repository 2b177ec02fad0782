-- Rules that demand a person's yes, and the questions that wait for one. What was said stands in the ledger;
-- whether a yes was used is read from the intents there.
CREATE TABLE approval_rule (
    id       text PRIMARY KEY,
    position bigint GENERATED ALWAYS AS IDENTITY,
    rule     text NOT NULL
);
CREATE TABLE approval (
    id         text PRIMARY KEY,
    state      text NOT NULL,
    expires_at timestamptz NOT NULL,
    held       text NOT NULL
);
CREATE INDEX approval_open ON approval (expires_at) WHERE state IN ('waiting', 'allowed', 'denied');
GRANT SELECT, INSERT, UPDATE, DELETE ON approval_rule, approval TO hive_app;
