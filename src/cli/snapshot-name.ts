/** The name in a `<domainsnapshot>` that somebody has just written: the daemon, which reads the document, judges all the rest. */

const opaque = [
  ["<!--", "-->"],
  ["<![CDATA[", "]]>"],
  ["<?", "?>"],
  ["<!", ">"],
] as const;

/** Text of the `<name>` right below the root; undefined where there is none, or the text is no XML. */
export function readSnapshotName(xml: string): string | undefined {
  let depth = 0;
  let startsAt: number | undefined;
  for (let at = xml.indexOf("<"); at >= 0; at = xml.indexOf("<", at)) {
    const start = at;
    const [begin, end] = opaque.find(([mark]) => xml.startsWith(mark, start)) ?? ["<", undefined];
    at = end === undefined ? findTagEnd(xml, at) : xml.indexOf(end, at + begin.length);
    if (at < 0) return undefined;
    at += end?.length ?? 1;
    if (end !== undefined || xml[at - 2] === "/") continue;
    if (xml[start + 1] === "/") {
      if (startsAt !== undefined && depth === 2) return unescapeText(xml.slice(startsAt, start));
      depth -= 1;
    } else {
      depth += 1;
      if (depth === 2 && /^<name[\s>]/.test(xml.slice(start, start + 6))) startsAt = at;
    }
  }
  return undefined;
}

/** Index of the `>` that ends the tag at `start`: quoted values may hold one. */
function findTagEnd(xml: string, start: number): number {
  let quote: string | undefined;
  for (let at = start; at < xml.length; at += 1) {
    const character = xml[at];
    if (quote !== undefined) quote = character === quote ? undefined : quote;
    else if (character === '"' || character === "'") quote = character;
    else if (character === ">") return at;
  }
  return -1;
}

const entities: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

function unescapeText(text: string): string {
  return text.replaceAll(/&(?:#x([0-9a-f]{1,6})|#([0-9]{1,7})|([a-z]+));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return entities[String(name)] ?? whole;
    const code = hex === undefined ? Number(decimal) : Number.parseInt(String(hex), 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}
