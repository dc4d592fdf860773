"""Who wrote: PostgreSQL itself notes each write that only a session's holder may make.

Every connection of a replica carries the replica's number, and a trigger puts it beside the owner
of the lease. So what a replica writes after its lease has passed on is seen even where it does no
harm that a person would notice.
"""

from collections.abc import Iterator, Mapping

import asyncpg

_SETTING = "model.replica"

_WATCH = f"""
CREATE TABLE model_writes (what text NOT NULL, replica text NOT NULL, holder text, session uuid,
    xact bigint NOT NULL DEFAULT txid_current());

CREATE FUNCTION model_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    replica text := current_setting('{_SETTING}', true);
    holder text;
    session uuid;
BEGIN
    IF COALESCE(replica, '') = '' THEN
        RETURN NULL;
    ELSIF TG_TABLE_NAME = 'agent_sessions' THEN
        holder := OLD.lease_owner;
        session := NEW.id;
    ELSE
        session := NEW.session_id;
        SELECT s.lease_owner INTO holder FROM agent_sessions s
        WHERE s.deployed_agent_id = NEW.deployed_agent_id AND s.id = NEW.session_id;
    END IF;
    IF holder IS NULL AND TG_TABLE_NAME <> 'agent_sessions' THEN -- who ends a turn and hands its session back in one statement held it
        SELECT w.holder INTO holder FROM model_writes w
        WHERE w.session = NEW.session_id AND w.xact = txid_current()
          AND w.what = 'handed a session back';
    END IF;
    INSERT INTO model_writes (what, replica, holder, session)
    VALUES (TG_ARGV[0], replica, holder, session);
    RETURN NULL;
END $$;

CREATE TRIGGER model_release AFTER UPDATE OF lease_owner ON agent_sessions FOR EACH ROW
WHEN (OLD.lease_owner IS NOT NULL AND NEW.lease_owner IS NULL)
EXECUTE FUNCTION model_note('handed a session back');

CREATE TRIGGER model_turn AFTER INSERT ON agent_turns FOR EACH ROW
EXECUTE FUNCTION model_note('began a turn');

CREATE TRIGGER model_turn_end AFTER UPDATE OF state ON agent_turns FOR EACH ROW
WHEN (OLD.state <> NEW.state)
EXECUTE FUNCTION model_note('moved a turn');

CREATE TRIGGER model_send AFTER UPDATE OF state ON session_inputs FOR EACH ROW
WHEN (OLD.state <> NEW.state AND (OLD.state IN ('sending', 'sent') OR NEW.state = 'sending'))
EXECUTE FUNCTION model_note('moved an input');

CREATE TRIGGER model_preview AFTER INSERT ON slack_previews FOR EACH ROW
EXECUTE FUNCTION model_note('began a preview');

CREATE TRIGGER model_preview_end AFTER UPDATE OF state ON slack_previews FOR EACH ROW
WHEN (OLD.state <> NEW.state)
EXECUTE FUNCTION model_note('moved a preview');
"""

_WRITES = "SELECT what, replica, holder, count(*) AS times FROM model_writes GROUP BY 1, 2, 3"


def named(dsn: str, number: int) -> str:
    """The address of the database for the replica of that number."""
    return f"{dsn}{'&' if '?' in dsn else '?'}{_SETTING}={number}"


async def watch(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """From now on writes are noted."""
    await connection.execute(_WATCH)


async def strangers(
    connection: "asyncpg.Connection[asyncpg.Record]", owners: Mapping[str, str]
) -> Iterator[str]:
    """What replicas wrote into sessions that they did not hold; `owners` by their numbers."""
    names = {owner: f"replica {number}" for number, owner in owners.items()}
    return (
        f"replica {row['replica']} {row['what']} of {names.get(row['holder'], 'nobody')}'s,"
        f" {row['times']} times"
        for row in await connection.fetch(_WRITES)
        if row["holder"] != owners.get(row["replica"])
    )
