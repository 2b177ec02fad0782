-- The ceilings that operators set. What was spent is not here: it is the sum over the ledger.

CREATE TABLE budget (
    scope text NOT NULL,
    name text NOT NULL,
    unit text NOT NULL,
    period text NOT NULL,
    ceiling bigint NOT NULL CHECK (ceiling >= 0),
    set_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (scope, name, unit, period)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON budget TO hive_app;
