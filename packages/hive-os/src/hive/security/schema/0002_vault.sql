-- Secrets of the operator, sealed: each under the data key that it names, and that one wrapped by the master key.
CREATE TABLE vault_key (
    id      text        PRIMARY KEY,
    wrapped bytea       NOT NULL,
    made_at timestamptz NOT NULL
);
CREATE TABLE vault_secret (
    name    text        PRIMARY KEY,
    key_id  text        NOT NULL REFERENCES vault_key (id),
    sealed  bytea       NOT NULL,
    set_at  timestamptz NOT NULL,
    used_at timestamptz
);
GRANT SELECT, INSERT, UPDATE, DELETE ON vault_key, vault_secret TO hive_app;
