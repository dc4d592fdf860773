"""The errors that Slack's reference lists, by what they are about (docs.slack.dev/reference/methods)."""

# What every method may say, and what becomes of a durable write that meets it.
UNCLEAR = (
    "fatal_error",
    "internal_error",
    "org_login_required",
    "request_timeout",
    "service_unavailable",
    "team_added_to_org",
)
LIMITED = ("message_limit_exceeded", "rate_limited", "ratelimited")
TRY_AGAIN = (*UNCLEAR, *LIMITED)
TOKEN = ("account_inactive", "invalid_auth", "not_authed", "token_expired")  # revoked: test_circuit
NEVER = (
    "access_denied",
    "deprecated_endpoint",
    "ekm_access_denied",
    "enterprise_is_restricted",
    "invalid_arg_name",
    "invalid_arguments",
    "invalid_array_arg",
    "invalid_charset",
    "invalid_form_data",
    "invalid_post_type",
    "method_deprecated",
    "missing_post_type",
    "missing_scope",
    "no_permission",
    "not_allowed_token_type",
    "team_access_not_granted",
    "two_factor_setup_required",
)
# What a message can meet on its way into a channel: posts and streams alike.
CHANNEL = (
    "as_user_not_supported",
    "attachment_payload_limit_exceeded",
    "cannot_reply_to_message",
    "channel_not_found",
    "invalid_metadata_format",
    "invalid_metadata_schema",
    "is_archived",
    "messages_tab_disabled",
    "metadata_must_be_sent_from_app",
    "metadata_too_large",
    "missing_file_data",
    "no_text",
    "not_in_channel",
    "restricted_action",
    "restricted_action_non_threadable_channel",
    "restricted_action_read_only_channel",
    "restricted_action_thread_locked",
    "restricted_action_thread_only_channel",
    "slack_connect_canvas_sharing_blocked",
    "slack_connect_file_link_sharing_blocked",
    "slack_connect_lists_sharing_blocked",
    "team_not_found",
    "too_many_attachments",
    "too_many_contact_cards",
)
BAD_BLOCKS = (
    "invalid_blocks",
    "invalid_blocks_format",
    "markdown_text_conflict",
    "msg_blocks_too_long",
)
OF_NOTHING = ("duplicate_channel_not_found", "duplicate_message_not_found")
STREAM = (
    "channel_type_not_supported",
    "message_not_found",
    "message_not_in_streaming_state",
    "message_not_owned_by_app",
    "messaging_processing_failed",
    "missing_recipient_team_id",
    "missing_recipient_user_id",
    "stopped_by_user",
    "user_not_found",
)
CHANGED = (
    "block_mismatch",
    "cant_broadcast_message",
    "cant_update_message",
    "channel_not_found",
    "edit_window_closed",
    "external_channel_migrating",
    "invalid_attachments",
    "is_inactive",
    "message_not_found",
    "msg_too_long",
    "no_dual_broadcast_content_update",
    "streaming_state_conflict",
    "team_not_found",
    "update_failed",
)
READ = (
    "channel_not_found",
    "invalid_cursor",
    "invalid_metadata_filter_keys",
    "invalid_ts_latest",
    "invalid_ts_oldest",
    "list_record_comment_fetch_failed",
    "method_not_supported_for_channel_type",
    "thread_not_found",
)
REACTED = (
    "bad_timestamp",
    "channel_not_found",
    "file_comment_not_found",
    "file_not_found",
    "invalid_name",
    "is_archived",
    "no_access",
    "no_item_specified",
    "not_reactable",
    "thread_locked",
    "too_many_emoji",
    "too_many_reactions",
)
REACTED_ALREADY = ("already_reacted", "message_not_found", "no_reaction")
SESSION = (
    "channel_not_found",
    "feature_disabled",
    "invalid_status",
    "not_authorized",
    "thread_ts_not_allowed",
    "thread_ts_required",
    "user_not_found",
)
TOLD = (
    *BAD_BLOCKS[:3],
    "cannot_reply_to_message",
    "channel_not_found",
    "invalid_attachments",
    "is_archived",
    "messages_tab_disabled",
    "msg_too_long",
    "no_text",
    "not_in_channel",
    "restricted_action",
    "too_many_attachments",
    "user_not_in_channel",
)
DELETED = ("cant_delete_message", "channel_not_found", "message_not_found")
PERSON = ("too_many_users", "user_not_found", "user_not_visible")
