-- Events of budgets (overruns, reopenings), found without reading anything else: a budget that an overrun
-- closed is closed after a restart as well.

CREATE INDEX entry_budget_event ON entry (at) WHERE kind = 'event' AND left(name, 7) = 'budget.';
