import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatDomain } from "../../src/model/domain-format.ts";
import type { DomainDefinition } from "../../src/model/domain.ts";
import * as arbitrary from "../model/arbitrary-domain.ts";
import { loadFixtures } from "../model/fixtures.ts";
import { loadLibvirtSchema } from "./libvirt-schema.ts";

const validate = loadLibvirtSchema("domain");

for (const { name, output } of loadFixtures("domain")) {
  if (output === undefined) continue;
  test(`domain ${name}: what is written is valid by libvirt's schema`, () => validate(output));
}

/** libvirt's schema lists architectures and limits names to what its own drivers take: those are not about our writing. */
function plainNames(definition: DomainDefinition): DomainDefinition {
  const { title: _title, ...rest } = definition;
  return { ...rest, name: "d", arch: "x86_64" };
}

test("whatever a domain is made of is written valid by libvirt's schema, at rest and live", () => {
  const layers = fc.array(arbitrary.anyImage, { maxLength: 3 });
  fc.assert(
    fc.property(arbitrary.domain, layers, arbitrary.mirror, (definition, backing, mirror) => {
      const plain = plainNames(definition);
      validate(formatDomain(plain));
      const disks = plain.disks.map((disk) => ({ ...disk, backing, mirror }));
      validate(formatDomain({ ...plain, disks }, { live: { id: 3 } }));
    }),
    { numRuns: 60 },
  );
});

test("libvirt's schema refuses what it should", () => {
  assert.throws(() => validate("<domain type='kvm'><name>d</name><devices><disk/></devices></domain>"));
});
