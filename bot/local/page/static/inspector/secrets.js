// What the inspector neither shows nor copies.

const NAMES = new Set(["token", "bot_token", "app_token", "signing_secret", "authorization", "client_secret"]);

/** Whether a field of that name holds a secret (the `tokens` of tokens_revoked are ids). */
export function isSecret(name) {
  return NAMES.has(String(name).toLowerCase());
}

/** A copy without secrets: their values are empty, so that a copied request is still whole. */
export function withoutSecrets(value) {
  return JSON.parse(JSON.stringify(value ?? null, (name, inner) =>
    isSecret(name) && typeof inner === "string" ? "" : inner,
  ));
}
