-- How far agents have kept their trust, as of a moment; it fades from there on.
CREATE TABLE reputation (
    agent text             PRIMARY KEY,
    good  double precision NOT NULL,
    bad   double precision NOT NULL,
    at    timestamptz      NOT NULL
);
-- Up to which line of its ledger a node has counted: a node that was killed counts the lines after it when it begins.
CREATE TABLE reputation_counted (
    node     text        PRIMARY KEY,
    chain    text        NOT NULL,
    sequence bigint      NOT NULL,
    at       timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON reputation, reputation_counted TO hive_app;
