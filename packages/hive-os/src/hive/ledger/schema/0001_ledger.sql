-- The ledger: one append-only table of chained entries, the sealed contents they name, and the
-- projection of tasks that is written in the same transaction.

CREATE TABLE epoch (
    node        text        NOT NULL,
    epoch       bigint      NOT NULL,
    instance    text        NOT NULL,
    opened_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until timestamptz NOT NULL,
    PRIMARY KEY (node, epoch)
);

CREATE TABLE entry (
    chain         text        NOT NULL,
    sequence      bigint      NOT NULL,
    kind          text        NOT NULL,
    name          text        NOT NULL,
    at            timestamptz NOT NULL,
    call          text,
    task          text,
    agent         text        NOT NULL,
    owner         text        NOT NULL,
    trace_id      text        NOT NULL,
    span_id       text        NOT NULL,
    body          text        NOT NULL,
    content_id    text        NOT NULL,
    previous_hash text        NOT NULL,
    hash          text        NOT NULL,
    parent        text,
    PRIMARY KEY (chain, sequence)
);
COMMENT ON COLUMN entry.parent IS 'a copy of the body''s "parent", so that inner calls are found';
CREATE INDEX entry_parent ON entry (parent) WHERE parent IS NOT NULL;
CREATE INDEX entry_call ON entry (call) WHERE call IS NOT NULL;
CREATE INDEX entry_task ON entry (task) WHERE task IS NOT NULL;
CREATE INDEX entry_trace ON entry (trace_id) WHERE trace_id <> '';

CREATE TABLE content_key (
    id           text        PRIMARY KEY,
    owner        text        NOT NULL,
    retention    text        NOT NULL,
    wrapped      bytea,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    forgotten_at timestamptz,
    CHECK ((wrapped IS NULL) = (forgotten_at IS NOT NULL))
);
CREATE UNIQUE INDEX content_key_current ON content_key (owner, retention) WHERE wrapped IS NOT NULL;

CREATE TABLE content (
    id     text  PRIMARY KEY,
    key_id text  NOT NULL,
    sealed bytea NOT NULL
);
ALTER TABLE content ALTER COLUMN sealed SET STORAGE EXTERNAL;

CREATE TABLE task (
    id             text        PRIMARY KEY,
    context_id     text        NOT NULL,
    agent          text        NOT NULL,
    owner          text        NOT NULL,
    caller         text        NOT NULL,
    call           text        NOT NULL,
    state          text        NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    status_content text        NOT NULL,
    data_content   text        NOT NULL
);
CREATE INDEX task_newest ON task (updated_at DESC, id DESC);
CREATE INDEX task_of_owner ON task (owner, updated_at DESC, id DESC);
CREATE INDEX task_open ON task (id)
    WHERE state NOT IN ('completed', 'failed', 'canceled', 'rejected');

CREATE TABLE task_content (
    task       text   NOT NULL,
    position   bigint GENERATED ALWAYS AS IDENTITY,
    kind       text   NOT NULL,
    content_id text   NOT NULL,
    PRIMARY KEY (task, position)
);

CREATE TABLE checkpoint (
    chain     text        NOT NULL,
    size      bigint      NOT NULL,
    at        timestamptz NOT NULL,
    note      text        NOT NULL,
    PRIMARY KEY (chain, size)
);

CREATE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER entry_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entry
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER content_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON content
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER checkpoint_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- The primary key forbids a fork, this trigger a gap: every new line must follow one that is there.
CREATE FUNCTION ledger_check_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken record;
BEGIN
    SELECT n.chain, n.sequence INTO broken
    FROM fresh n
    LEFT JOIN entry p ON p.chain = n.chain AND p.sequence = n.sequence - 1
    WHERE CASE
        WHEN n.sequence = 1
            THEN n.previous_hash <> repeat('0', 64) OR n.name <> 'epoch.opened'
        ELSE p.hash IS DISTINCT FROM n.previous_hash
    END
    ORDER BY n.chain, n.sequence LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % of chain % does not follow the one before',
            broken.sequence, broken.chain USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER entry_follows AFTER INSERT ON entry
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_link();

CREATE FUNCTION ledger_lock_key(p_node text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended('hive.epoch.' || p_node, 0)
$$;

-- Opens the next epoch of a node. With p_after it does so only for the holder of the newest one, and
-- not at all where p_expected proves that the last batch of that holder was committed.
CREATE FUNCTION ledger_open_epoch(
    p_node text, p_instance text, p_lease_s double precision, p_after bigint, p_expected text
) RETURNS TABLE (outcome text, epoch bigint, head_chain text, head_sequence bigint, head_hash text)
LANGUAGE plpgsql AS $$
DECLARE
    newest record;
    head record;
BEGIN
    PERFORM pg_advisory_xact_lock(ledger_lock_key(p_node));
    SELECT e.epoch, e.instance INTO newest FROM epoch e
        WHERE e.node = p_node ORDER BY e.epoch DESC LIMIT 1;
    SELECT l.chain, l.sequence, l.hash INTO head
        FROM epoch e CROSS JOIN LATERAL (
            SELECT t.chain, t.sequence, t.hash FROM entry t
            WHERE t.chain = e.node || '.' || e.epoch ORDER BY t.sequence DESC LIMIT 1
        ) l
        WHERE e.node = p_node ORDER BY e.epoch DESC LIMIT 1;
    IF p_after IS NOT NULL AND newest.instance IS DISTINCT FROM p_instance THEN
        RETURN QUERY SELECT 'lost', newest.epoch, head.chain, head.sequence, head.hash;
    ELSIF p_expected IS NOT NULL AND head.hash = p_expected THEN
        RETURN QUERY SELECT 'committed', newest.epoch, head.chain, head.sequence, head.hash;
    ELSE
        INSERT INTO epoch AS e (node, epoch, instance, lease_until) VALUES (
            p_node, COALESCE(newest.epoch, 0) + 1, p_instance,
            clock_timestamp() + make_interval(secs => p_lease_s));
        RETURN QUERY SELECT 'opened', COALESCE(newest.epoch, 0) + 1,
            head.chain, head.sequence, head.hash;
    END IF;
END $$;

-- Makes an epoch whose lease ran out usable again, unless a newer one exists by now.
CREATE FUNCTION ledger_renew_epoch(p_node text, p_epoch bigint, p_lease_s double precision)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(ledger_lock_key(p_node));
    UPDATE epoch e SET lease_until = clock_timestamp() + make_interval(secs => p_lease_s)
        WHERE e.node = p_node AND e.epoch = p_epoch
        AND NOT EXISTS (SELECT FROM epoch n WHERE n.node = p_node AND n.epoch > p_epoch);
    RETURN FOUND;
END $$;

-- Appends a batch of lines, the contents they name and their effect on tasks, or nothing. The shared
-- lock lets no newer epoch open between the check and the commit.
CREATE FUNCTION ledger_append(
    p_node text, p_epoch bigint, p_lease_s double precision, p_first bigint, p_previous text,
    p_kind text[], p_name text[], p_at timestamptz[], p_call text[], p_task text[],
    p_agent text[], p_owner text[], p_trace text[], p_span text[], p_body text[],
    p_content text[], p_hash text[], p_parent text[],
    p_content_id text[], p_content_key text[], p_content_sealed bytea[],
    p_tasks jsonb, p_changes jsonb, p_links jsonb
) RETURNS text LANGUAGE plpgsql
-- A plan made while the tables are small is kept by its session, and would read them whole ever after.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    now_at timestamptz := clock_timestamp();
    until_at timestamptz;
    newer boolean;
    moved bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(ledger_lock_key(p_node));
    SELECT e.lease_until, EXISTS (SELECT FROM epoch n WHERE n.node = p_node AND n.epoch > p_epoch)
        INTO until_at, newer FROM epoch e WHERE e.node = p_node AND e.epoch = p_epoch;
    IF NOT FOUND OR newer THEN
        RETURN 'lost';
    END IF;
    IF until_at < now_at THEN
        RETURN 'expired';
    END IF;
    IF until_at < now_at + make_interval(secs => p_lease_s / 2) THEN
        UPDATE epoch e SET lease_until = now_at + make_interval(secs => p_lease_s)
            WHERE e.node = p_node AND e.epoch = p_epoch;
    END IF;
    IF p_content_id IS NOT NULL THEN
        INSERT INTO content (id, key_id, sealed)
            SELECT * FROM unnest(p_content_id, p_content_key, p_content_sealed)
            ON CONFLICT (id) DO NOTHING;
    END IF;
    INSERT INTO entry (chain, sequence, kind, name, at, call, task, agent, owner, trace_id, span_id,
                       body, content_id, previous_hash, hash, parent)
        SELECT p_node || '.' || p_epoch, p_first + n - 1, kind, name, at, call, task, agent, owner,
               trace_id, span_id, body, content_id,
               CASE WHEN n = 1 THEN p_previous ELSE p_hash[n - 1] END, hash, parent
        FROM unnest(p_kind, p_name, p_at, p_call, p_task, p_agent, p_owner, p_trace, p_span,
                    p_body, p_content, p_hash, p_parent)
             WITH ORDINALITY AS line(kind, name, at, call, task, agent, owner, trace_id, span_id,
                                     body, content_id, hash, parent, n);
    IF p_tasks IS NOT NULL THEN
        INSERT INTO task SELECT * FROM jsonb_populate_recordset(NULL::task, p_tasks);
    END IF;
    IF p_changes IS NOT NULL THEN
        UPDATE task t SET state = COALESCE(c.state, t.state), updated_at = c.at,
                status_content = COALESCE(c.status, t.status_content)
            FROM jsonb_to_recordset(p_changes)
                AS c(id text, state text, at timestamptz, status text)
            WHERE t.id = c.id AND (c.state IS NULL OR c.state = t.state
                OR t.state NOT IN ('completed', 'failed', 'canceled', 'rejected'));
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF moved <> jsonb_array_length(p_changes) THEN
            RAISE EXCEPTION 'a task that is missing or has ended cannot move'
                USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    IF p_links IS NOT NULL THEN
        INSERT INTO task_content (task, kind, content_id)
            SELECT l.value->>0, l.value->>1, l.value->>2
            FROM jsonb_array_elements(p_links) WITH ORDINALITY AS l(value, n) ORDER BY l.n;
    END IF;
    RETURN 'ok';
END $$;

GRANT SELECT, INSERT ON entry, content, checkpoint, task_content TO hive_app;
GRANT SELECT, INSERT, UPDATE (lease_until) ON epoch TO hive_app;
GRANT SELECT, INSERT, UPDATE (wrapped, forgotten_at) ON content_key TO hive_app;
GRANT SELECT, INSERT, UPDATE (state, updated_at, status_content) ON task TO hive_app;
