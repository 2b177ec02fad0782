-- The authorities of the trust domain. Keys are sealed; a root whose key was taken away has none.
CREATE TABLE identity_authority (
    kind        text        NOT NULL,
    generation  integer     NOT NULL,
    certificate bytea       NOT NULL,
    above       bytea       NOT NULL,
    sealed_key  bytea,
    made_at     timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    PRIMARY KEY (kind, generation)
);
-- SVIDs and ids that count no more before their time.
CREATE TABLE identity_denied (
    kind    text        NOT NULL,
    value   text        NOT NULL,
    at      timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    reason  text        NOT NULL,
    by      text        NOT NULL,
    PRIMARY KEY (kind, value)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON identity_authority, identity_denied TO hive_app;
