-- What the node's own authorization server gave out. Every secret is kept as its SHA-256 only.
CREATE TABLE oauth_client (
    id            text        PRIMARY KEY,
    name          text        NOT NULL,
    redirect_uris text        NOT NULL,
    created_at    timestamptz NOT NULL
);
CREATE TABLE oauth_grant (
    id         text        PRIMARY KEY,
    client     text        NOT NULL,
    resource   text        NOT NULL,
    scopes     text        NOT NULL,
    jkt        text        NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE TABLE oauth_code (
    digest       bytea       PRIMARY KEY,
    grant_id     text        NOT NULL REFERENCES oauth_grant (id) ON DELETE CASCADE,
    redirect_uri text        NOT NULL,
    challenge    text        NOT NULL,
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz
);
CREATE TABLE oauth_token (
    digest     bytea       PRIMARY KEY,
    grant_id   text        NOT NULL REFERENCES oauth_grant (id) ON DELETE CASCADE,
    kind       text        NOT NULL,
    scopes     text        NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX oauth_token_grant ON oauth_token (grant_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON oauth_client, oauth_grant, oauth_code, oauth_token TO hive_app;
