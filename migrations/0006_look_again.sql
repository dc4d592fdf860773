-- A message that was posted a second time, because nobody could tell whether the first had arrived, is
-- looked at once more later on: if both stand there, one is deleted. Null: nothing to look at.
ALTER TABLE slack_outbox ADD COLUMN look_again_at timestamptz;
CREATE INDEX slack_outbox_look_again ON slack_outbox (look_again_at) WHERE look_again_at IS NOT NULL;
