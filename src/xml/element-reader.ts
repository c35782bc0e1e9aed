import { QmError } from "../base/errors.ts";
import type { XmlElement } from "./element.ts";
import { writeXml } from "./write.ts";

/**
 * Reads an element so that nothing in it is dropped unseen: each attribute, child and text is asked for by name (or named
 * as ignored), and when the callback is done, whatever nobody asked for is refused with `QM_XML_UNSUPPORTED`.
 *
 * Errors name the place as a path below the root: `devices/disk/driver@cache`. They carry `fields.line`.
 */
export class ElementReader {
  readonly path: string;
  readonly #element: XmlElement;
  /** Undefined for the root. Shared and never copied: a document may declare 100,000 namespaces and use them in as many places. */
  readonly #outer: ElementReader | undefined;
  readonly #asked = new Set<string>();
  #textAsked = false;

  private constructor(element: XmlElement, path: string, outer: ElementReader | undefined) {
    this.#element = element;
    this.#outer = outer;
    this.path = path;
  }

  /** Reads a document's root, which must have this name and no namespace (`QM_XML_INVALID` otherwise). */
  static readRoot<T>(root: XmlElement, name: string, read: (reader: ElementReader) => T): T {
    if (root.name !== name || root.namespace !== undefined) {
      throw new QmError("QM_XML_INVALID", { element: qualify(root), reason: `the root element must be <${name}>` });
    }
    return ElementReader.#run(new ElementReader(root, name, undefined), read);
  }

  static #run<T>(reader: ElementReader, read: (reader: ElementReader) => T): T {
    const result = read(reader);
    reader.#refuseRest();
    return result;
  }

  attribute(name: string): string | undefined {
    this.#asked.add(`@${name}`);
    return this.#element.attributes.get(name);
  }

  /** An attribute that must be there: `QM_XML_INVALID` otherwise. */
  requireAttribute(name: string): string {
    return this.attribute(name) ?? this.fail("is missing", `@${name}`);
  }

  /** An attribute with one of the supported values; another value is `QM_XML_UNSUPPORTED`. */
  choice<T extends string>(name: string, supported: readonly T[]): T | undefined {
    const value = this.attribute(name);
    return value === undefined ? undefined : this.#pick(value, supported, `@${name}`);
  }

  /** The text without outer blanks, as one of the supported values. */
  textChoice<T extends string>(supported: readonly T[]): T {
    return this.#pick(this.token(), supported, "");
  }

  /** The text as it stands. */
  text(): string {
    this.#textAsked = true;
    return this.#element.text;
  }

  /** The text without outer blanks. */
  token(): string {
    return this.text().trim();
  }

  /** Reads the child of this name; `undefined` when there is none. A second one is `QM_XML_UNSUPPORTED`. */
  child<T>(name: string, read: (child: ElementReader) => T): T | undefined {
    const results = this.children(name, (child, index) => {
      if (index > 0) child.unsupported(" more than once");
      return read(child);
    });
    return results[0];
  }

  /** Like {@link child}, for one that must be there. */
  requireChild<T>(name: string, read: (child: ElementReader) => T): T {
    if (!this.#element.children.some((child) => qualify(child) === name)) this.fail(`has no <${name}>`);
    return this.child(name, read) as T;
  }

  /** Reads every child of this name, in order. `name` carries the prefix for a child in a namespace. */
  children<T>(name: string, read: (child: ElementReader, index: number) => T): T[] {
    this.#asked.add(name);
    return this.#element.children
      .filter((child) => qualify(child) === name)
      .map((child, index) =>
        ElementReader.#run(new ElementReader(child, this.#below(name), this), (r) => read(r, index)),
      );
  }

  /** The whole element as a document of its own, unlooked at. `QM_XML_INVALID` where it has text between elements. */
  document(): string {
    this.ignore(
      ...this.#element.children.map(qualify),
      ...[...this.#element.attributes.keys()].map((name) => `@${name}`),
    );
    this.#textAsked = true;
    const used = new Set(listPrefixes(this.#element));
    const declarations = Object.entries(this.#namespacesInScope()).filter(
      ([prefix]) => used.has(prefix) || this.#element.declarations?.[prefix] !== undefined,
    );
    const sorted = Object.fromEntries(declarations.toSorted(([a], [b]) => (a < b ? -1 : 1)));
    return writeXml(declarations.length === 0 ? this.#element : { ...this.#element, declarations: sorted });
  }

  hasChild(name: string): boolean {
    return this.child(name, () => true) ?? false;
  }

  /** Takes note of children and `@attributes` that only output carries: they are not looked into. */
  ignore(...names: readonly string[]): void {
    for (const name of names) this.#asked.add(name);
  }

  /** Throws `QM_XML_INVALID` for this element, or with `at` for its attribute. */
  fail(reason: string, at = ""): never {
    throw new QmError("QM_XML_INVALID", { element: this.path + at, reason, line: this.#element.line });
  }

  /** Throws `QM_XML_UNSUPPORTED` for this element, or with `at` for its attribute. */
  unsupported(detail = "", at = ""): never {
    throw new QmError("QM_XML_UNSUPPORTED", { element: this.path + at, detail, line: this.#element.line });
  }

  #pick<T extends string>(value: string, supported: readonly T[], at: string): T {
    const found = supported.find((one) => one === value);
    return found ?? this.unsupported(` as '${value}' (supported: ${supported.join(", ")})`, at);
  }

  /** Prefix to URI, of what is declared here and above. */
  #namespacesInScope(): Record<string, string> {
    const outer = this.#outer === undefined ? {} : this.#outer.#namespacesInScope();
    return { ...outer, ...this.#element.declarations };
  }

  #below(name: string): string {
    return this.#outer === undefined ? name : `${this.path}/${name}`;
  }

  #refuseRest(): void {
    for (const name of this.#element.attributes.keys()) {
      if (!this.#asked.has(`@${name}`)) this.unsupported("", `@${name}`);
    }
    for (const child of this.#element.children) {
      const name = qualify(child);
      if (this.#asked.has(name)) continue;
      throw new QmError("QM_XML_UNSUPPORTED", { element: this.#below(name), detail: "", line: child.line });
    }
    if (!this.#textAsked && this.#element.text.trim() !== "") this.fail("holds text where none belongs");
  }
}

function listPrefixes({ prefix, attributes, children }: XmlElement): string[] {
  const ofAttributes = [...attributes.keys()].flatMap((name) => (name.includes(":") ? [name.split(":")[0] ?? ""] : []));
  return [...(prefix === undefined ? [] : [prefix]), ...ofAttributes, ...children.flatMap(listPrefixes)];
}

/** The namespaces that we know, by the prefix under which {@link ElementReader} gives them out, whatever the document calls them. */
export const knownNamespaces: Readonly<Record<string, string>> = { qemu: "http://libvirt.org/schemas/domain/qemu/1.0" };

function qualify(element: XmlElement): string {
  if (element.namespace === undefined) return element.name;
  const known = Object.entries(knownNamespaces).find(([, uri]) => uri === element.namespace);
  return `${known?.[0] ?? `{${element.namespace}}`}:${element.name}`;
}
