// How many calls of a method its tier allows in a minute, learnt from what was left.

const TIERS = [1, 20, 50, 100, 300]; // docs.slack.dev/apis/web-api/rate-limits
const most = new Map();

/** The tier that a method shows itself to have; `left` is what one of its calls found. */
export function limitOf(method, left) {
  const seen = Math.max(most.get(method) ?? 0, left);
  most.set(method, seen);
  // A call counts itself, so that the first of a minute finds one less than its tier.
  return TIERS.find((tier) => tier > seen) ?? seen + 1;
}
