import assert from "node:assert/strict";
import { test } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import type { ErrorCode } from "../../src/base/error-registry.ts";
import { maxXmlBytes, maxXmlDepth, maxXmlElements, readXml } from "../../src/xml/read.ts";

function refused(xml: string, code: ErrorCode, text: string): void {
  assert.throws(
    () => readXml(xml),
    (error) => isQmError(error, code) && error.message.includes(text),
  );
}

test("names, namespaces, attributes, text and lines are kept; comments are not", () => {
  const root = readXml(
    "<?xml version='1.0'?><!-- c -->\n<a x='1&#10;&lt;' xmlns:z='urn:z'>\n<z:b xml:lang='e'>t<!-- --><![CDATA[<]]>&amp;</z:b></a>",
  );
  assert.equal(root.line, 2);
  assert.equal(root.attributes.get("x"), "1\n<");
  assert.deepEqual(root.declarations, { z: "urn:z" });
  const [b] = root.children;
  assert.deepEqual([b?.name, b?.namespace, b?.prefix, b?.text, b?.line], ["b", "urn:z", "z", "t<&", 3]);
  assert.deepEqual([...(b?.attributes ?? [])], [["xml:lang", "e"]]);
});

test("the text is taken as decoded, whatever encoding it declares", () => {
  assert.equal(readXml("<?xml version='1.0' encoding='ISO-8859-1'?><a>é€</a>").text, "é€");
  assert.equal(readXml("\ufeff<a>é</a>").text, "é");
});

test("a DOCTYPE is refused wherever it may stand, and its entities are never expanded", () => {
  const bomb = Array.from({ length: 30 }, (_, i) => `<!ENTITY e${i + 1} '${`&e${i};`.repeat(10)}'>`).join("");
  const started = performance.now();
  refused(`<!DOCTYPE a [<!ENTITY e0 'x'>${bomb}]><a>&e30;</a>`, "QM_XML_FORBIDDEN", "a DOCTYPE");
  assert.ok(performance.now() - started < 1000);
  refused("<!DOCTYPE a SYSTEM 'http://127.0.0.1:1/x.dtd'><a/>", "QM_XML_FORBIDDEN", "a DOCTYPE");
  refused("\ufeff<?xml version='1.0'?>\n<!-- > --><!DOCTYPE a><a/>", "QM_XML_FORBIDDEN", "a DOCTYPE");
  refused("<!-- ?> <!DOCTYPE --> <!DOCTYPE a><a/>", "QM_XML_FORBIDDEN", "a DOCTYPE");
  assert.equal(readXml("<!-- <!DOCTYPE a> --><a><![CDATA[<!DOCTYPE a>]]></a>").text, "<!DOCTYPE a>");
});

test("unknown entities and processing instructions are refused", () => {
  refused("<a>&nbsp;</a>", "QM_XML_MALFORMED", "nbsp");
  refused("<?xml-stylesheet href='x'?><a/>", "QM_XML_FORBIDDEN", "a processing instruction");
  refused("<a><?php x?></a>", "QM_XML_FORBIDDEN", "a processing instruction");
});

test("XInclude is nothing but an element in a namespace", () => {
  const xml =
    "<a xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='file:///etc/hostname' parse='text'/></a>";
  assert.deepEqual([readXml(xml).text, readXml(xml).children[0]?.name], ["", "include"]);
});

test("what is not well-formed tells its line", () => {
  assert.throws(
    () => readXml("<a>\n<b>\n</a>"),
    (error) => isQmError(error, "QM_XML_MALFORMED") && error.fields["line"] === 3 && error.message.includes("line 3: "),
  );
  refused("", "QM_XML_MALFORMED", "the document is empty");
  refused(" \n", "QM_XML_MALFORMED", "");
  refused("<a/><b/>", "QM_XML_MALFORMED", "line 1");
  refused("<!-- never ended", "QM_XML_MALFORMED", "line 1");
  refused("<a><q:b/></a>", "QM_XML_MALFORMED", "q");
  refused("<a x='1' x='2'/>", "QM_XML_MALFORMED", "x");
  refused("<a/>\0<!-- -->", "QM_XML_MALFORMED", "a character that XML cannot carry");
  refused("<a>\ud800</a>", "QM_XML_MALFORMED", "a character that XML cannot carry");
  refused("<a>\u0001</a>", "QM_XML_MALFORMED", "line 1");
});

test("blanks that are text are kept: alone, beside references, comments and CDATA", () => {
  for (const [xml, text] of [
    ["<a> \t</a>", " \t"],
    ["<a> &amp; &#32;</a>", " &  "],
    ["<a> <!-- -->b</a>", " b"],
    ["<a> <![CDATA[b]]> <![CDATA[c]]> </a>", " b c "],
  ] as const) {
    assert.equal(readXml(xml).text, text, xml);
  }
});

test("size is counted in bytes, and at the limit still read", () => {
  const fit = `<a>${"x".repeat(maxXmlBytes - 7)}</a>`;
  assert.equal(readXml(fit).text.length, maxXmlBytes - 7);
  refused(`${fit}\n`, "QM_XML_TOO_LARGE", String(maxXmlBytes + 1));
  refused(`<a>${"é".repeat(maxXmlBytes / 2)}</a>`, "QM_XML_TOO_LARGE", String(maxXmlBytes + 7));
});

test("depth and number of elements are bounded", () => {
  const nested = (depth: number): string => "<a>".repeat(depth) + "</a>".repeat(depth);
  readXml(nested(maxXmlDepth));
  for (const depth of [maxXmlDepth + 1, 255, 256, 300, 100_000]) {
    refused(nested(depth), "QM_XML_FORBIDDEN", `nesting deeper than ${maxXmlDepth}`);
  }
  refused(`<a>${"<b/>".repeat(maxXmlElements)}</a>`, "QM_XML_FORBIDDEN", `more than ${maxXmlElements}`);
});

test("wasm memory is given back, after failures too", async () => {
  const { diag } = await import("libxml2-wasm");
  diag.configure({ enabled: true });
  try {
    readXml("<a><b/></a>");
    for (const bad of ["<a>", "<a><?p?></a>", "<!DOCTYPE a><a/>", "x"]) assert.throws(() => readXml(bad));
    assert.deepEqual(diag.report(), {});
  } finally {
    diag.configure({ enabled: false });
  }
});
