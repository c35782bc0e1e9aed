import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { parseDomain } from "../../src/model/domain-parse.ts";
import { formatSnapshot } from "../../src/model/snapshot-format.ts";
import type { XmlElement } from "../../src/xml/element.ts";
import { readXml } from "../../src/xml/read.ts";
import { writeXml } from "../../src/xml/write.ts";
import { recordedSnapshot } from "../model/arbitrary-snapshot.ts";
import { loadFixtures } from "../model/fixtures.ts";
import { loadLibvirtSchema } from "./libvirt-schema.ts";

const validate = loadLibvirtSchema("domainsnapshot");

/** `<mirror>` is ours: libvirt knows none in a snapshot. */
function dropMirrors(xml: string): string {
  const drop = (element: XmlElement): XmlElement => ({
    ...element,
    children: element.children.filter(({ name }) => name !== "mirror").map(drop),
  });
  return writeXml(drop(readXml(xml)));
}

for (const kind of ["domainsnapshot", "redefinition"] as const) {
  for (const { name, output } of loadFixtures(kind)) {
    if (output === undefined) continue;
    test(`${kind} ${name}: what is written is valid by libvirt's schema`, () => {
      validate(dropMirrors(output));
    });
  }
}

test("whatever is recorded is written valid by libvirt's schema", () => {
  const file = new URL("../fixtures/xml/domain/usual.xml", import.meta.url);
  const domain = parseDomain(readFileSync(file, "utf8"));
  fc.assert(
    fc.property(recordedSnapshot(domain), ({ snapshot, config, current }) => {
      validate(dropMirrors(formatSnapshot(snapshot, { config, current })));
      validate(dropMirrors(formatSnapshot(snapshot)));
    }),
  );
});

test("libvirt's schema refuses what it should", () => {
  assert.throws(() => validate("<domainsnapshot><state>asleep</state></domainsnapshot>"), /state/);
});
