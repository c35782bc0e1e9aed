import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isQmError } from "../../src/base/errors.ts";
import { makeElement, type XmlElement } from "../../src/xml/element.ts";
import { readXml } from "../../src/xml/read.ts";
import { writeXml } from "../../src/xml/write.ts";

const text = fc
  .string({ unit: "binary", maxLength: 30 })
  // oxlint-disable-next-line no-control-regex
  .map((s) => s.replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, ""));
const name = fc.stringMatching(/^[a-z][a-zA-Z0-9_-]{0,8}$/);
const attributes = fc.dictionary(name, text, { maxKeys: 3 });
const leaf = fc.tuple(name, attributes, text).map((args) => makeElement(...args));
const tree = fc
  .tuple(
    name,
    attributes,
    fc.array(
      fc.oneof(
        leaf,
        fc.tuple(name, attributes, fc.array(leaf)).map((a) => makeElement(...a)),
      ),
    ),
  )
  .map((args) => makeElement(...args));

/** The parts of a tree that are kept. */
function kept({ name, attributes, children, text }: XmlElement): unknown {
  return { name, attributes: [...attributes], children: children.map(kept), text: children.length > 0 ? "" : text };
}

test("every tree is read back as it was written", () => {
  fc.assert(fc.property(tree, (made) => assert.deepEqual(kept(readXml(writeXml(made))), kept(made))));
});

test("libvirt's look: two spaces, single quotes, empty elements closed at once", () => {
  const root = makeElement("a", { x: 1, left: undefined, "it's": "<'\"&>" }, [
    makeElement("b", {}, "1 < 2 & 'so'"),
    undefined,
    makeElement("c", {}, [makeElement("d")]),
  ]);
  assert.equal(
    writeXml(root),
    `<a x='1' it's='&lt;&apos;"&amp;&gt;'>
  <b>1 &lt; 2 &amp; 'so'</b>
  <c>
    <d/>
  </c>
</a>
`,
  );
});

test("declarations come last, prefixes are written", () => {
  const root = {
    ...makeElement("a", { x: 1 }, [{ ...makeElement("b"), prefix: "q" }]),
    declarations: { q: "urn:q", "": "urn:d" },
  };
  assert.equal(writeXml(root), "<a x='1' xmlns:q='urn:q' xmlns='urn:d'>\n  <q:b/>\n</a>\n");
});

test("characters that XML cannot carry are refused, with their place", () => {
  for (const char of ["\u0000", "\u001b", "\ufffe", "\ud800"]) {
    const inText = makeElement("a", {}, char);
    assert.throws(
      () => writeXml(inText),
      (error) => isQmError(error, "QM_XML_INVALID") && error.fields.element === "a",
    );
    const inAttribute = makeElement("a", { b: char });
    assert.throws(
      () => writeXml(inAttribute),
      (error) => isQmError(error, "QM_XML_INVALID") && error.fields.element === "a@b",
    );
  }
});

test("text beside elements is refused", () => {
  assert.throws(
    () => writeXml({ ...makeElement("a", {}, [makeElement("b")]), text: "t" }),
    (e) => isQmError(e, "QM_XML_INVALID"),
  );
});
