import {
  ParseOption,
  XmlCData,
  XmlComment,
  XmlDocument,
  XmlElement as LibElement,
  XmlParseError,
  XmlText,
} from "libxml2-wasm";
import type { XmlNode } from "libxml2-wasm";
import { QmError, errorText } from "../base/errors.ts";
import type { XmlElement } from "./element.ts";

export const maxXmlBytes = 4 * 1024 * 1024;
/** Deep enough for the nested `<backingStore>` of any chain that qmirror opens. libxml2's own limit is 256. */
export const maxXmlDepth = 200;
export const maxXmlElements = 100_000;

/**
 * Reads one XML document. Nothing outside of `text` is ever opened, and no entity but XML's own five is known.
 * The text is decoded already, so an encoding named in its declaration is not looked at.
 *
 * Errors: `QM_XML_TOO_LARGE` (counted in bytes of UTF-8, before parsing), `QM_XML_FORBIDDEN` (a DOCTYPE, a processing
 * instruction, nesting deeper than {@link maxXmlDepth}, more than {@link maxXmlElements} elements),
 * `QM_XML_MALFORMED` (with `fields.line` where it is known).
 */
export function readXml(text: string): XmlElement {
  const document = parseDocument(text);
  try {
    return copyElement(document.root, 1, { elements: 0 });
  } finally {
    document.dispose();
  }
}

/** Parses with every check of {@link readXml} but depth and count. The caller disposes of the result: it lives in wasm memory. */
export function parseDocument(text: string): XmlDocument {
  const sizeBytes = Buffer.byteLength(text);
  if (sizeBytes > maxXmlBytes) throw new QmError("QM_XML_TOO_LARGE", { sizeBytes, limitBytes: maxXmlBytes });
  // libxml2 would read a NUL as the end and a lone surrogate as something else.
  if (text.includes("\0") || !text.isWellFormed()) {
    throw new QmError("QM_XML_MALFORMED", { reason: "a character that XML cannot carry" });
  }
  checkProlog(text);
  const document = parseText(text);
  if (document.dtd !== null) {
    document.dispose();
    throw new QmError("QM_XML_FORBIDDEN", { what: "a DOCTYPE" });
  }
  return document;
}

function parseText(text: string): XmlDocument {
  // Blanks between elements are most of a document's nodes. Beside comments and CDATA they may be a part of a text.
  const skipBlanks = text.includes("<!") ? [] : [ParseOption.XML_PARSE_NOBLANKS];
  const option = [
    ...skipBlanks,
    ParseOption.XML_PARSE_NONET,
    ParseOption.XML_PARSE_NO_XXE,
    ParseOption.XML_PARSE_IGNORE_ENC,
    ParseOption.XML_PARSE_BIG_LINES,
  ].reduce<number>((all, one) => all | one, 0);
  try {
    return XmlDocument.fromString(text, { option });
  } catch (error) {
    const detail = error instanceof XmlParseError ? error.details.find(({ level }) => level >= 2) : undefined;
    if (detail === undefined) {
      const reason = text.trim() === "" ? "the document is empty" : errorText(error);
      throw new QmError("QM_XML_MALFORMED", { reason }, { cause: error });
    }
    if (detail.message.startsWith("Excessive depth")) throw tooDeep(error);
    const reason = `line ${detail.line}: ${detail.message.trim()}`;
    throw new QmError("QM_XML_MALFORMED", { reason, line: detail.line }, { cause: error });
  }
}

/**
 * A DOCTYPE can only stand before the root element. Looking for it there ourselves keeps its entities away from the
 * parser, which would begin to expand them.
 */
function checkProlog(text: string): void {
  let at = text.startsWith("\ufeff") ? 1 : 0;
  for (;;) {
    while (/\s/.test(text.charAt(at))) at++;
    if (text.startsWith("<!DOCTYPE", at)) throw new QmError("QM_XML_FORBIDDEN", { what: "a DOCTYPE" });
    const [start, end] = text.startsWith("<!--", at)
      ? ["<!--", "-->"]
      : text.startsWith("<?", at)
        ? ["<?", "?>"]
        : [""];
    if (end === undefined) return;
    if (end === "?>" && !/^<\?xml\s/.test(text.slice(at, at + 6))) throw instruction();
    // Behind the whole start: `<!-->` does not end itself.
    const found = text.indexOf(end, at + start.length);
    if (found < 0) return; // not well-formed: the parser tells
    at = found + end.length;
  }
}

function copyElement(source: LibElement, depth: number, count: { elements: number }): XmlElement {
  if (depth > maxXmlDepth) throw tooDeep();
  if (++count.elements > maxXmlElements) {
    throw new QmError("QM_XML_FORBIDDEN", { what: `more than ${maxXmlElements} elements` });
  }
  const children: XmlElement[] = [];
  let text = "";
  for (let node: XmlNode | null = source.firstChild; node !== null; node = nextOf(node)) {
    if (node instanceof LibElement) children.push(copyElement(node, depth + 1, count));
    else if (node instanceof XmlText || node instanceof XmlCData) text += node.content;
    else if (!(node instanceof XmlComment)) throw instruction();
  }
  const namespace = source.namespaceUri;
  const declarations = source.nsDeclarations;
  return {
    name: source.name,
    ...(namespace === "" ? {} : { namespace, prefix: source.prefix }),
    ...(Object.keys(declarations).length === 0 ? {} : { declarations }),
    attributes: new Map(source.attrs.map((a) => [a.prefix === "" ? a.name : `${a.prefix}:${a.name}`, a.value])),
    children,
    text,
    line: source.line,
  };
}

function nextOf(node: XmlNode): XmlNode | null {
  return "next" in node ? (node as XmlNode & { next: XmlNode | null }).next : null;
}

function tooDeep(cause?: unknown): QmError {
  return new QmError("QM_XML_FORBIDDEN", { what: `nesting deeper than ${maxXmlDepth} elements` }, { cause });
}

function instruction(): QmError {
  return new QmError("QM_XML_FORBIDDEN", { what: "a processing instruction" });
}
