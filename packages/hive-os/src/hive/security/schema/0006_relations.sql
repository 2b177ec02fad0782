-- The newest revision of relationships, one row: whoever writes takes its lock, so revisions have one order.
CREATE TABLE relation_head (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    revision bigint  NOT NULL
);
INSERT INTO relation_head (revision) VALUES (0);
-- Models, each with the revision from which on it counts.
CREATE TABLE relation_model (
    revision bigint PRIMARY KEY,
    source   text   NOT NULL
);
-- Relationships, each with the revisions from and until which it counts, so that a question is answered at one of them.
CREATE TABLE relation_tuple (
    object   text COLLATE "C" NOT NULL,
    relation text COLLATE "C" NOT NULL,
    subject  text COLLATE "C" NOT NULL,
    broad    boolean          NOT NULL,
    added    bigint           NOT NULL,
    removed  bigint           NOT NULL DEFAULT 9223372036854775807,
    PRIMARY KEY (object, relation, subject, removed)
);
CREATE INDEX relation_broad ON relation_tuple (object, relation) WHERE broad;
CREATE INDEX relation_removed ON relation_tuple (removed) WHERE removed < 9223372036854775807;
GRANT SELECT, UPDATE ON relation_head TO hive_app;
GRANT SELECT, INSERT, DELETE ON relation_model TO hive_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON relation_tuple TO hive_app;
