/**
 * What people have typed and chosen and not sent yet, by message or view. It outlives every drawing of
 * them: an update of a card or a view keeps what stands in the inputs that are still there.
 */

const MOST = 400;
const TYPED = new Map(); // id → {block_id: {action_id: value}}
const DRAWN = new WeakMap(); // ctx → the inputs of this drawing
// The server takes no value of these kinds.
const UNSENT = new Set(["rich_text_input", "file_input"]);

const INITIAL = {
  plain_text_input: (one) => one.initial_value,
  email_text_input: (one) => one.initial_value,
  url_text_input: (one) => one.initial_value,
  number_input: (one) => one.initial_value,
  rich_text_input: (one) => one.initial_value,
  static_select: (one) => one.initial_option?.value,
  external_select: (one) => one.initial_option?.value,
  radio_buttons: (one) => one.initial_option?.value,
  users_select: (one) => one.initial_user,
  conversations_select: (one) => one.initial_conversation,
  channels_select: (one) => one.initial_channel,
  checkboxes: (one) => one.initial_options?.map((option) => option.value),
  multi_static_select: (one) => one.initial_options?.map((option) => option.value),
  multi_external_select: (one) => one.initial_options?.map((option) => option.value),
  multi_users_select: (one) => one.initial_users,
  multi_conversations_select: (one) => one.initial_conversations,
  multi_channels_select: (one) => one.initial_channels,
  datepicker: (one) => one.initial_date,
  timepicker: (one) => one.initial_time,
  datetimepicker: (one) => one.initial_date_time,
};

/** Whether an element holds a value at all. */
export function holds(element) {
  return Object.hasOwn(INITIAL, element?.type) || element?.type === "file_input";
}

/** What stands in an input now: typed, else known to the server, else what it began with. */
export function valueOf(ctx, block, element) {
  draw(ctx, block, element);
  const typed = TYPED.get(ctx.id)?.[block.block_id]?.[element.action_id];
  if (typed !== undefined) return typed;
  const known = ctx.values?.[block.block_id]?.[element.action_id];
  return known ?? INITIAL[element.type]?.(element) ?? null;
}

function draw(ctx, block, element) {
  if (!DRAWN.has(ctx)) DRAWN.set(ctx, new Map());
  DRAWN.get(ctx).set(`${block.block_id}\n${element.action_id}`, element.type);
}

/** Remember what somebody typed. */
export function keepValue(ctx, block, element, value) {
  const all = TYPED.get(ctx.id) ?? {};
  (all[block.block_id] ??= {})[element.action_id] = value;
  TYPED.delete(ctx.id);
  TYPED.set(ctx.id, all);
  if (TYPED.size > MOST) TYPED.delete(TYPED.keys().next().value);
}

/** What has been typed into the inputs that are there, as the server takes it. */
export function typedValues(ctx) {
  const found = {};
  const drawn = DRAWN.get(ctx) ?? new Map();
  for (const [block, actions] of Object.entries(TYPED.get(ctx.id) ?? {})) {
    for (const [action, value] of Object.entries(actions)) {
      const type = drawn.get(`${block}\n${action}`);
      if (type === undefined || UNSENT.has(type) || value === null) continue;
      (found[block] ??= {})[action] = value;
    }
  }
  return found;
}

/** Forget all of a message or a view. */
export function forgetValues(id) {
  TYPED.delete(id);
}
