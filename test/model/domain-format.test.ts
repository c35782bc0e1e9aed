import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isQmError } from "../../src/base/errors.ts";
import { formatDomain } from "../../src/model/domain-format.ts";
import { parseDomain } from "../../src/model/domain-parse.ts";
import type { Disk, DomainDefinition } from "../../src/model/domain.ts";
import { validateXml } from "../../src/xml/validate.ts";
import * as arbitrary from "./arbitrary-domain.ts";

test("every definition is valid by the schema when written, and read back as it was", () => {
  fc.assert(
    fc.property(arbitrary.domain, (definition) => {
      const written = formatDomain(definition);
      validateXml(written, "domain");
      assert.deepEqual(parseDomain(written), definition);
    }),
    { numRuns: 300 },
  );
});

test("live XML shows id, chain and mirror, is valid, and read back as a definition that states the chain", () => {
  const backing = fc.array(arbitrary.anyImage, { maxLength: 3 });
  fc.assert(
    fc.property(arbitrary.domain, backing, arbitrary.mirror, (definition, layers, mirror) => {
      const live = { ...definition, disks: definition.disks.map((disk) => ({ ...disk, backing: layers, mirror })) };
      const written = formatDomain(live, { live: { id: 7 } });
      validateXml(written, "domain");
      assert.match(written, /^<domain type='\w+' id='7'/);
      const disks = definition.disks.map((disk) => ({ ...disk, statedBacking: layers }));
      assert.deepEqual(parseDomain(written), { ...definition, disks });
      assert.equal(formatDomain(live), formatDomain(definition), "inactive XML has none of it");
    }),
    { numRuns: 100 },
  );
});

const base: DomainDefinition = parseDomain(
  "<domain type='qemu'><name>d</name><memory>1024</memory><os><type>hvm</type></os></domain>",
);
const vda: Disk = {
  target: "vda",
  bus: "virtio",
  device: "disk",
  readonly: false,
  source: { type: "file", path: "/a.s1", format: "qcow2" },
  backing: [
    { type: "block", path: "/dev/b", format: "raw" },
    { type: "file", path: "/c", format: "qcow2" },
  ],
  mirror: { target: { type: "file", path: "/n/a.s1", format: "qcow2" }, state: "ready" },
};

test("a live disk is written as libvirt does: nested chain, then the mirror in both forms", () => {
  const written = formatDomain({ ...base, disks: [vda] }, { live: { id: 1 } });
  const disk = written.slice(written.indexOf("    <disk"), written.indexOf("    <memballoon"));
  assert.equal(
    disk,
    `    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/a.s1' index='1'/>
      <backingStore type='block' index='2'>
        <format type='raw'/>
        <source dev='/dev/b'/>
        <backingStore type='file' index='3'>
          <format type='qcow2'/>
          <source file='/c'/>
          <backingStore/>
        </backingStore>
      </backingStore>
      <mirror type='file' job='copy' file='/n/a.s1' format='qcow2' ready='yes'>
        <format type='qcow2'/>
        <source file='/n/a.s1'/>
      </mirror>
      <target dev='vda' bus='virtio'/>
    </disk>
`,
  );
});

test("a mirror that has ended is not part of the live disk, one that is not ready yet says nothing of it", () => {
  for (const state of ["starting", "ready", "broken", "lost"] as const) {
    const mirror = { target: { type: "file" as const, path: "/m", format: "qcow2" as const }, state };
    const written = formatDomain({ ...base, disks: [{ ...vda, mirror }] }, { live: { id: 1 } });
    assert.equal(written.includes("<mirror"), state === "starting" || state === "ready", state);
    assert.equal(written.includes("ready='yes'"), state === "ready", state);
  }
});

test("a port that QEMU chose is shown live only", () => {
  const definition: DomainDefinition = { ...base, graphics: { port: 5903, autoport: true, listen: "127.0.0.1" } };
  assert.match(formatDomain(definition, { live: { id: 1 } }), /port='5903' autoport='yes'/);
  assert.match(formatDomain(definition), /port='-1' autoport='yes'/);
});

test("a text that XML cannot carry is refused", () => {
  assert.throws(
    () => formatDomain({ ...base, description: "bell \u0007" }),
    (error) => isQmError(error, "QM_XML_INVALID") && error.message.startsWith("description:"),
  );
});

test("without a uuid each reading makes another one", () => {
  const xml = "<domain type='qemu'><name>d</name><memory>1</memory><os><type>hvm</type></os></domain>";
  const [first, second] = [parseDomain(xml).uuid, parseDomain(xml).uuid];
  assert.match(first, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.notEqual(first, second);
});

test("memory units are libvirt's, rounded up to a KiB", () => {
  const read = (xml: string): number =>
    parseDomain(`<domain type='kvm'><name>d</name>${xml}<os><type>hvm</type></os></domain>`).memoryBytes;
  assert.equal(read("<memory>3</memory>"), 3072);
  assert.equal(read("<memory unit='bytes'>1</memory>"), 1024);
  assert.equal(read("<memory unit='KB'>1000</memory>"), 1000448);
  assert.equal(read("<memory unit='M'>\n 2\n</memory>"), 2 * 1024 ** 2);
  assert.equal(read("<memory unit='TiB'>1</memory>"), 1024 ** 4);
});
