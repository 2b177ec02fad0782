-- The model providers that an operator added, and the names under which agents ask for models. A key is never
-- here: `secret` is the name of one in the vault.
CREATE TABLE model_upstream (
    name     text        PRIMARY KEY,
    url      text        NOT NULL,
    secret   text        NOT NULL,
    options  text        NOT NULL,
    added_at timestamptz NOT NULL
);
CREATE TABLE model_route (
    alias    text   PRIMARY KEY,
    targets  text   NOT NULL,
    position bigint GENERATED ALWAYS AS IDENTITY
);
GRANT SELECT, INSERT, UPDATE, DELETE ON model_upstream, model_route TO hive_app;
