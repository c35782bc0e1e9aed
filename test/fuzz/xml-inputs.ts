/** XML documents: valid ones that were tampered with, random text, deep, wide and huge ones. */
import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";

const folder = new URL("../fixtures/xml/", import.meta.url);

const documents = ["domain", "domainsnapshot"].flatMap((kind) =>
  readdirSync(new URL(`${kind}/`, folder))
    .filter((name) => name.endsWith(".xml"))
    .map((name) => readFileSync(new URL(`${kind}/${name}`, folder), "utf8")),
);

/** Words that mean something to XML, paths, terminals or QEMU. */
const pieces = [
  ..."<>&'\"/=;,:%\0\u001b\u009b\u202e\ud800\ufeff\u00a0\n",
  ...["<!--", "<!-->", "-->", "<![CDATA[", "]]>", "<?xml version='1.0'?>", "<?x?>", "&lt;", "&#0;", "&#x1b;", "&e;"],
  ...["<!DOCTYPE a [<!ENTITY e 'x'>]>", "<!DOCTYPE a SYSTEM 'file:///etc/hostname'>", "<!ENTITY % e SYSTEM '/'>"],
  ...["../../x", "/dev/zero", "json:{}", "nbd:h:1", ",file=/x", "--help", "-x", "__proto__", "constructor"],
  ...["0", "-1", "1e999", "9223372036854775808", "NaN", "\u0663", " xmlns='u'", " xmlns:qemu='u'", " qemu:x='1'"],
];

interface Cut {
  readonly at: number;
  readonly length: number;
  readonly piece: string;
}

const piece = fc.oneof(
  fc.constantFrom(...pieces),
  fc.string({ unit: "binary", maxLength: 12 }),
  fc.constantFrom(...documents).chain((text) => fc.nat(text.length).map((at) => text.slice(at, at + 60))),
);
const cut: fc.Arbitrary<Cut> = fc.record({
  at: fc.nat(100_000),
  length: fc.oneof({ weight: 3, arbitrary: fc.nat(6) }, fc.nat(200)),
  piece,
});

const tampered = fc
  .tuple(fc.constantFrom(...documents), fc.array(cut, { maxLength: 4 }))
  .map(([document, cuts]) => cuts.reduce(applyCut, document));

/** Attributes' values and texts replaced, so that the document stays well-formed and reaches the parsers behind. */
const revalued = fc
  .tuple(fc.constantFrom(...documents), fc.array(fc.tuple(fc.nat(1000), piece), { minLength: 1, maxLength: 3 }))
  .map(([document, values]) => values.reduce((text, [which, value]) => replaceValue(text, which, value), document));

const deep = fc
  .tuple(fc.nat(300), fc.constantFrom("a", "domain", "backingStore", "q:a xmlns:q='u'"))
  .map(([depth, name]) => `<${name}>`.repeat(depth) + `</${name.split(" ")[0]}>`.repeat(depth));

const wide = fc
  .tuple(fc.nat(400), fc.constantFrom("<disk/>", "<disk name='vda'/>", "<a:b/>", "<!---->", "x", "&amp;"), fc.nat(400))
  .map(([count, child, namespaces]) => {
    const declared = Array.from({ length: namespaces }, (_, index) => ` xmlns:n${index}='u'`).join("");
    return `<domainsnapshot${declared}><disks>${child.repeat(count)}</disks></domainsnapshot>`;
  });

const huge = fc
  .tuple(fc.integer({ min: 1000, max: 100_000 }), fc.constantFrom("name", "title", "description", "uuid"))
  .map(
    ([length, name]) =>
      `<domain type='kvm' id='${"9".repeat(length)}'><${name}>${"x".repeat(length)}</${name}></domain>`,
  );

const random = fc
  .array(fc.oneof(fc.constantFrom(...pieces), fc.string({ unit: "binary" })), { maxLength: 20 })
  .map((all) => all.join(""));

export const xmlInputs = fc.oneof(
  { weight: 6, arbitrary: tampered },
  { weight: 8, arbitrary: revalued },
  { weight: 4, arbitrary: random },
  { weight: 1, arbitrary: deep },
  { weight: 1, arbitrary: wide },
  { weight: 1, arbitrary: huge },
);

function applyCut(text: string, { at, length, piece: inserted }: Cut): string {
  const start = at % (text.length + 1);
  return text.slice(0, start) + inserted + text.slice(start + length);
}

function replaceValue(text: string, which: number, value: string): string {
  const values = [...text.matchAll(/(?<==')[^']*(?=')|(?<=>)[^<]+(?=<\/)/g)];
  const found = values[which % Math.max(values.length, 1)];
  if (found === undefined) return text;
  const escaped = value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("'", "&apos;");
  return text.slice(0, found.index) + escaped + text.slice(found.index + found[0].length);
}
