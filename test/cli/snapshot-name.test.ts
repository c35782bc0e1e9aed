import assert from "node:assert/strict";
import { test } from "node:test";
import { readSnapshotName } from "../../src/cli/snapshot-name.ts";

const cases: [xml: string, name: string | undefined][] = [
  ["<domainsnapshot><name>a</name></domainsnapshot>", "a"],
  ["<?xml version='1.0'?>\n<domainsnapshot>\n  <parent><name>p</name></parent><name>a</name></domainsnapshot>", "a"],
  ["<domainsnapshot><!-- <name>c</name> --><domain><name>vm</name></domain><name >b</name></domainsnapshot>", "b"],
  ["<domainsnapshot><disks x='>'/><name>a&amp;b&#60;&#x3e;&apos;</name></domainsnapshot>", "a&b<>'"],
  ["<domainsnapshot><d><![CDATA[</d><name>x</name>]]></d><name>y</name></domainsnapshot>", "y"],
  ["<domainsnapshot><domain><name>vm</name></domain></domainsnapshot>", undefined],
  ["<domainsnapshot><name/></domainsnapshot>", undefined],
  ["no xml", undefined],
  ["<<<", undefined],
];

for (const [xml, name] of cases) {
  test(`the name in ${xml} is ${name}`, () => assert.equal(readSnapshotName(xml), name));
}

test("a document of 4 MiB that is all wrong is read quickly", () => {
  for (const text of ["<a ".repeat(2 ** 20), "<!--".repeat(2 ** 20), '<a b="'.repeat(2 ** 19)]) {
    assert.equal(readSnapshotName(text), undefined);
  }
});
