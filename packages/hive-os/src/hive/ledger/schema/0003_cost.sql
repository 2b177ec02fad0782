-- Answered model calls, found by time without reading anything else: what `hive cost` sums.

CREATE INDEX entry_model_call ON entry (at) WHERE kind = 'result' AND left(name, 4) = 'ask ';

-- The cost of a result. A NUL, which jsonb cannot hold, becomes the replacement character.
CREATE FUNCTION ledger_result(p_body text) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT replace(p_body, '\u0000', '\ufffd')::jsonb
$$;

-- One amount of it: a number within bounds, NULL where there is none. A provider's word cannot
-- break a sum.
CREATE FUNCTION ledger_amount(p_cost jsonb, p_name text, p_most numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN jsonb_typeof(p_cost -> p_name) = 'number'
        THEN least(greatest((p_cost -> p_name)::numeric, 0), p_most) END
$$;
