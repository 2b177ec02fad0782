-- Foreign nodes that are known here. A machine's TPM vouches for one node and no more.
CREATE TABLE node_peer (
    node         text        NOT NULL PRIMARY KEY,
    signing      bytea       NOT NULL,
    sealing      bytea       NOT NULL,
    bits         integer     NOT NULL,
    machine      text        UNIQUE,
    machine_name text        NOT NULL,
    at           timestamptz NOT NULL,
    by           text        NOT NULL
);
-- Challenges that were answered, until they would have ended by themselves.
CREATE TABLE node_challenge_used (
    nonce   text        NOT NULL PRIMARY KEY,
    ends_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON node_peer, node_challenge_used TO hive_app;
