-- The newest signed package of each name that ran here; an older one that comes back is refused.
CREATE TABLE signed_package (
    kind    text        NOT NULL,
    name    text        NOT NULL,
    version text        NOT NULL,
    issued  timestamptz NOT NULL,
    digest  text        NOT NULL,
    bundle  text        NOT NULL,
    signer  text        NOT NULL,
    at      timestamptz NOT NULL,
    PRIMARY KEY (kind, name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON signed_package TO hive_app;
