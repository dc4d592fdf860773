-- How far into the future the requests that the runtime allows a key are spent, over all replicas.
-- The key itself is not kept, only a hash of it and of the runtime's address.
CREATE TABLE runtime_budgets (
    key_hash     bytea NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('read', 'create')),
    spent_until  timestamptz NOT NULL,
    PRIMARY KEY (key_hash, kind)
);
