-- Files that people share with a message, on their way to the agent.

-- One row per file, written by the session's holder: what is uploaded or refused is not fetched again,
-- whoever goes on. The runtime's file expires by itself.
CREATE TABLE input_files (
    deployed_agent_id  uuid NOT NULL,
    workspace_id       uuid NOT NULL,
    session_id         uuid NOT NULL,
    input_id           uuid NOT NULL,
    slack_file_id      text NOT NULL CHECK (slack_file_id <> ''),
    position           smallint NOT NULL,                -- its place among the message's files
    state              text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'uploaded', 'ready', 'refused')),
    attempts           smallint NOT NULL DEFAULT 0,      -- fetches begun, also by who died in one
    name               text NOT NULL,
    kind               text CHECK (kind IN ('image', 'document', 'text', 'resource')),
    media_type         text,
    size               bigint CHECK (size >= 0),
    content            text,                             -- of a text that is quoted whole
    runtime_file_id    text,
    mount_path         text,
    mounted_in         text,                             -- the runtime session that has it there
    reason             text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (deployed_agent_id, input_id, slack_file_id),
    FOREIGN KEY (deployed_agent_id, input_id) REFERENCES session_inputs (deployed_agent_id, id),
    FOREIGN KEY (deployed_agent_id, session_id, workspace_id)
        REFERENCES agent_sessions (deployed_agent_id, id, workspace_id),
    CONSTRAINT refused_has_a_reason CHECK ((state = 'refused') = (reason IS NOT NULL)),
    CONSTRAINT read_has_kind_and_size
        CHECK (state NOT IN ('uploaded', 'ready') OR num_nonnulls(kind, media_type, size) = 3),
    CONSTRAINT only_resources_are_mounted
        CHECK ((mount_path IS NULL) = (mounted_in IS NULL)
               AND (mount_path IS NULL OR kind = 'resource')),
    CONSTRAINT ready_is_to_be_had CHECK (state <> 'ready' OR CASE kind
        WHEN 'text' THEN content IS NOT NULL
        WHEN 'resource' THEN runtime_file_id IS NOT NULL AND mount_path IS NOT NULL
        ELSE runtime_file_id IS NOT NULL END)
);
-- What retention takes them from.
CREATE INDEX input_files_age ON input_files (deployed_agent_id, created_at);

-- The second wall, as in 0009_api.sql; the sessions API does not read this table.
ALTER TABLE input_files ENABLE ROW LEVEL SECURITY;
ALTER TABLE input_files FORCE ROW LEVEL SECURITY;
CREATE POLICY ours ON input_files USING (current_user <> 'threadline_tenant');
CREATE POLICY tenant ON input_files USING (
    workspace_id = (SELECT NULLIF(current_setting('threadline.workspace', true), '')::uuid));
