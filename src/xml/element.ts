/** An XML element as qmirror keeps it: comments and the difference between text and CDATA are not kept. */
export interface XmlElement {
  /** Local name. */
  readonly name: string;
  /** Namespace URI, and the prefix that stood for it; both absent outside any namespace. */
  readonly namespace?: string;
  readonly prefix?: string;
  /** Namespace declarations that stand on this element: prefix to URI, `""` for the default namespace. */
  readonly declarations?: Readonly<Record<string, string>>;
  /** By name as written, so `xml:lang` keeps its prefix. */
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  /** The element's own text, that of its children not included. */
  readonly text: string;
  /** Where it began in the document that it was read from, counted from 1. */
  readonly line?: number;
}

type AttributeValue = string | number | undefined;

/**
 * Makes an element to be written. Attributes and children that are `undefined` are left out; a string or number in place of
 * the children is the element's text.
 */
export function makeElement(
  name: string,
  attributes: Readonly<Record<string, AttributeValue>> = {},
  content: string | number | readonly (XmlElement | undefined)[] = [],
): XmlElement {
  const given = Object.entries(attributes).filter(([, value]) => value !== undefined);
  const hasChildren = typeof content === "object";
  return {
    name,
    attributes: new Map(given.map(([key, value]) => [key, String(value)])),
    children: hasChildren ? content.filter((child) => child !== undefined) : [],
    text: hasChildren ? "" : String(content),
  };
}
