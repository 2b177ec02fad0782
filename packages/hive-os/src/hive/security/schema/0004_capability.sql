-- What counts no more: a warrant by its id, and all that came of a task, an agent or a root.
CREATE TABLE warrant_revoked (
    kind   text        NOT NULL,
    value  text        NOT NULL,
    at     timestamptz NOT NULL,
    "by"   text        NOT NULL,
    reason text        NOT NULL,
    PRIMARY KEY (kind, value)
);
-- Warrants that this node gave out to holders elsewhere. Nobody can use one without the holder's key.
CREATE TABLE warrant_minted (
    id        text        PRIMARY KEY,
    holder    text        NOT NULL,
    "by"      text        NOT NULL,
    minted_at timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    token     text        NOT NULL
);
-- The newest signed revocation list of this node's root, one row.
CREATE TABLE warrant_list (
    root    text    PRIMARY KEY,
    version bigint  NOT NULL,
    signed  bytea   NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON warrant_revoked, warrant_minted, warrant_list TO hive_app;
