-- A token with a role is an operator's, and opens the operator API as far as its role reaches; one without is a client's.
ALTER TABLE token ADD COLUMN role text NOT NULL DEFAULT '';
