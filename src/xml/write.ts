import { QmError } from "../base/errors.ts";
import type { XmlElement } from "./element.ts";

const indentStep = "  ";
/** What XML 1.0 (section 2.2) cannot carry, not even escaped. */
// oxlint-disable-next-line no-control-regex
const unwritable = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/;

/**
 * Writes a tree as libvirt writes XML: two spaces a level, single-quoted attributes, no XML declaration, a newline at the end.
 * `readXml` gives the same tree back (apart from `line`, and blanks between children).
 * Errors: `QM_XML_INVALID` for a character that XML cannot carry, and for an element that has both children and text.
 */
export function writeXml(root: XmlElement): string {
  const lines: string[] = [];
  writeElement(root, "", lines);
  return `${lines.join("\n")}\n`;
}

function writeElement(element: XmlElement, indent: string, lines: string[]): void {
  const name = element.prefix ? `${element.prefix}:${element.name}` : element.name;
  const open = [name, ...attributesOf(element, name)].join(" ");
  const text = escape(element.text, name, /[&<>\r]/g);
  if (element.children.length > 0) {
    if (text.trim() !== "")
      throw new QmError("QM_XML_INVALID", { element: name, reason: "has both text and elements" });
    lines.push(`${indent}<${open}>`);
    for (const child of element.children) writeElement(child, indent + indentStep, lines);
    lines.push(`${indent}</${name}>`);
  } else {
    lines.push(text === "" ? `${indent}<${open}/>` : `${indent}<${open}>${text}</${name}>`);
  }
}

function attributesOf(element: XmlElement, name: string): string[] {
  const declared = Object.entries(element.declarations ?? {}).map(
    ([prefix, uri]) => [prefix === "" ? "xmlns" : `xmlns:${prefix}`, uri] as const,
  );
  // libvirt puts the namespace last, after type and id.
  return [...element.attributes, ...declared].map(
    ([key, value]) => `${key}='${escape(value, `${name}@${key}`, /[&<>'\t\n\r]/g)}'`,
  );
}

const named: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;" };

/** Blanks other than a space are written as references in attributes, or a reader would turn them into spaces. */
function escape(value: string, where: string, special: RegExp): string {
  if (unwritable.test(value) || !value.isWellFormed()) {
    throw new QmError("QM_XML_INVALID", { element: where, reason: "holds a character that XML cannot carry" });
  }
  return value.replaceAll(special, (char) => named[char] ?? `&#${char.charCodeAt(0)};`);
}
