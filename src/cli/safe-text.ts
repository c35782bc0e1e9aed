/** Names and messages come from guests' owners and from QEMU: what a terminal would obey is made visible instead. */

/** Control characters of C0 and C1, DEL, line separators, and the marks that reorder text. */
// oxlint-disable-next-line no-control-regex
const unsafeCharacters = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** `text` as one harmless line. */
export function makeSafe(text: string): string {
  return text.replaceAll(unsafeCharacters, escapeCharacter);
}

/** The same, for text of several lines: line ends and tabs stay. */
export function makeLinesSafe(text: string): string {
  return text.replaceAll(unsafeCharacters, (character) =>
    character === "\n" || character === "\t" ? character : escapeCharacter(character),
  );
}

/** One line of JSON for `value`, with no character that a terminal obeys. */
export function toSafeJson(value: unknown): string {
  // JSON escapes C0 itself; the others may stand in its strings, and `\u` escapes mean the same there.
  return JSON.stringify(value).replaceAll(unsafeCharacters, escapeAsUnicode);
}

function escapeCharacter(character: string): string {
  const code = character.charCodeAt(0);
  return code <= 0xff ? `\\x${code.toString(16).padStart(2, "0")}` : escapeAsUnicode(character);
}

function escapeAsUnicode(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
