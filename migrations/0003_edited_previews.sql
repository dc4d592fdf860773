-- Where Slack has no stream to give, a preview is a posted message that is edited as its text grows.
-- Which of the two a part is to be is known before it is made: what is looked for afterwards, and how
-- it is ended, hangs on that.
ALTER TABLE slack_previews ADD COLUMN edited boolean NOT NULL DEFAULT false;
