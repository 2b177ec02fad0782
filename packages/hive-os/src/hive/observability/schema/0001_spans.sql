-- Spans of recent steps. A view for people: it may be pruned, and nothing decides by it.

CREATE TABLE span (
    trace_id   text        NOT NULL,
    span_id    text        NOT NULL,
    parent_id  text        NOT NULL,
    flags      smallint    NOT NULL,
    name       text        NOT NULL,
    kind       text        NOT NULL,
    start_ns   bigint      NOT NULL,
    end_ns     bigint      NOT NULL,
    attributes text        NOT NULL,
    links      text        NOT NULL,
    status     text        NOT NULL,
    note       text        NOT NULL,
    PRIMARY KEY (trace_id, span_id)
);
CREATE INDEX span_start ON span USING brin (start_ns);

GRANT SELECT, INSERT, DELETE ON span TO hive_app;
