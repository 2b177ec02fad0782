-- The tokens that an operator gave to clients. The secret itself is never stored, only its SHA-256.
CREATE TABLE token (
    id         text        PRIMARY KEY,
    name       text        NOT NULL,
    owner      text        NOT NULL,
    agents     text        NOT NULL,
    digest     bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
GRANT SELECT, INSERT, UPDATE, DELETE ON token TO hive_app;
