/** The character references of HTML that people and models write. */

const NAMED = {
  amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", reg: "®", trade: "™",
  hellip: "…", mdash: "—", ndash: "–", lsquo: "‘", rsquo: "’", ldquo: "“", rdquo: "”", laquo: "«",
  raquo: "»", bull: "•", middot: "·", times: "×", divide: "÷", plusmn: "±", deg: "°", micro: "µ",
  larr: "←", rarr: "→", uarr: "↑", darr: "↓", harr: "↔", rArr: "⇒", le: "≤", ge: "≥", ne: "≠",
  asymp: "≈", infin: "∞", sum: "∑", radic: "√", pi: "π", alpha: "α", beta: "β", gamma: "γ",
  delta: "δ", lambda: "λ", mu: "μ", sigma: "σ", omega: "ω", euro: "€", pound: "£", yen: "¥",
  cent: "¢", sect: "§", para: "¶", check: "✓", frac12: "½", frac14: "¼", szlig: "ß", auml: "ä",
  ouml: "ö", uuml: "ü", Auml: "Ä", Ouml: "Ö", Uuml: "Ü", eacute: "é", egrave: "è", agrave: "à",
  ccedil: "ç", ensp: "\u2002", emsp: "\u2003", thinsp: "\u2009", shy: "\u00ad", zwj: "\u200d",
};
const REFERENCE = /&(?:#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-zA-Z][a-zA-Z0-9]{1,31}));/y;
const LARGEST = 0x10ffff;

/**
 * The reference that begins there, as text, and where it ends; null where there is none.
 * @param {string} text
 * @param {number} at
 * @returns {{text: string, end: number} | null}
 */
export function entityAt(text, at) {
  REFERENCE.lastIndex = at;
  const found = REFERENCE.exec(text);
  if (!found) return null;
  const read = found[3] ? (Object.hasOwn(NAMED, found[3]) ? NAMED[found[3]] : null) : numbered(found);
  return read === null ? null : { text: read, end: at + found[0].length };
}

function numbered(found) {
  const code = found[1] ? Number(found[1]) : Number.parseInt(found[2], 16);
  const wrong = code === 0 || code > LARGEST || (code >= 0xd800 && code <= 0xdfff);
  return wrong ? "\ufffd" : String.fromCodePoint(code);
}

/** A text with all its references read. */
export function decoded(text) {
  if (!text.includes("&")) return text;
  return text.replace(/&[#\w]{1,33};/g, (one) => entityAt(one, 0)?.text ?? one);
}

/** A text of Slack's: `&amp;`, `&lt;` and `&gt;`, and no other. */
export function unescaped(text) {
  if (!text.includes("&")) return text;
  return text.replace(/&(amp|lt|gt);/g, (_, name) => NAMED[name]);
}
