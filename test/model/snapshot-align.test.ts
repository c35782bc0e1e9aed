import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isQmError, type QmError } from "../../src/base/errors.ts";
import type { ErrorCode } from "../../src/base/error-registry.ts";
import type { Disk, DomainDefinition } from "../../src/model/domain.ts";
import {
  alignSnapshot,
  externalDisks,
  type AlignedSnapshot,
  type AlignOptions,
} from "../../src/model/snapshot-align.ts";
import type { SnapshotRequest } from "../../src/model/snapshot.ts";
import * as arbitrary from "./arbitrary-domain.ts";

const disk = (target: string, path: string, more: Partial<Disk> = {}): Disk => ({
  target,
  bus: "virtio",
  device: "disk",
  readonly: false,
  source: { type: "file", path, format: "qcow2" },
  ...more,
});

const diskOnly: AlignOptions = {
  now: 1_700_000_000_500,
  running: true,
  paused: false,
  diskOnly: true,
  live: false,
  reuseExternal: false,
};
const full: AlignOptions = { ...diskOnly, diskOnly: false };
const inactive: AlignOptions = { ...full, running: false };

function align(
  disks: Disk[],
  request: Partial<SnapshotRequest> = {},
  options: AlignOptions = diskOnly,
): AlignedSnapshot {
  const domain = { name: "d", disks } as unknown as DomainDefinition;
  return alignSnapshot(domain, { name: "s1", disks: [], ...request }, options);
}

/** State, memory and each disk's kind, as one line. */
function kinds({ state, memory, disks }: AlignedSnapshot): string {
  return [state, memory.file ?? memory.snapshot, ...disks.map((d) => `${d.target}=${d.snapshot}`)].join(" ");
}

function failure(code: ErrorCode, text: string): (error: unknown) => boolean {
  return (error) => isQmError(error) && (error as QmError).code === code && error.message.includes(text);
}

test("what follows the last dot of the last part is replaced by the snapshot's name", () => {
  const overlay = (path: string): string | undefined => externalDisks(align([disk("vda", path)]))[0]?.overlay.path;
  assert.equal(overlay("/d/a.qcow2"), "/d/a.s1");
  assert.equal(overlay("/d/a.b.qcow2"), "/d/a.b.s1");
  assert.equal(overlay("/d.x/a"), "/d.x/a.s1");
  assert.equal(overlay("/d/a."), "/d/a.s1");
  assert.equal(overlay("/d/.hidden"), "/d/.s1");
});

test("the name is the time in seconds where none is asked for", () => {
  const domain = { name: "d", disks: [disk("vda", "/a")] } as unknown as DomainDefinition;
  const aligned = alignSnapshot(domain, { disks: [] }, { ...full, now: new Date(1_700_000_000_999) });
  assert.deepEqual([aligned.name, aligned.creationTime], ["1700000000", 1_700_000_000]);
});

test("read-only disks and cdroms stay out, and may be named as such", () => {
  const disks = [disk("vda", "/a"), disk("vdb", "/b", { readonly: true }), disk("sda", "/c", { device: "cdrom" })];
  assert.equal(
    kinds(align(disks, { disks: [{ name: "vdb" }, { name: "sda", snapshot: "no" }] })),
    "disk-snapshot no vda=external vdb=no sda=no",
  );
  const asked = { disks: [{ name: "vdb", source: { path: "/x", type: "file" as const } }] };
  assert.throws(() => align(disks, asked), failure("QM_INVALID", "read-only"));
});

test("an image on a block device needs its overlay named", () => {
  const block = disk("vda", "", { source: { type: "block", path: "/dev/vg/a", format: "raw" } });
  assert.throws(() => align([block]), failure("QM_XML_INVALID", "disk 'vda': its image is a block device"));
  const named = align([block], { disks: [{ name: "/dev/vg/a", source: { path: "/o", type: "file" } }] });
  assert.deepEqual(externalDisks(named)[0]?.overlay, { type: "file", path: "/o", format: "qcow2" });
});

test("a network image needs its overlay named, and is known by its name", () => {
  const source = { type: "network", path: "nbd://host/x", format: "raw" } as const;
  const network = disk("vda", "", { source });
  assert.throws(() => align([network]), failure("QM_XML_INVALID", "disk 'vda': its image is no file"));
  const named = align([network], { disks: [{ name: "nbd://host/x", source: { path: "/o", type: "file" } }] });
  assert.deepEqual(externalDisks(named), [
    { target: "vda", snapshot: "external", base: source, overlay: { type: "file", path: "/o", format: "qcow2" } },
  ]);
});

test("an existing overlay is reused only where it is named", () => {
  const reuse = { ...diskOnly, reuseExternal: true };
  assert.throws(() => align([disk("vda", "/a")], {}, reuse), failure("QM_XML_INVALID", "to reuse"));
  const named = align([disk("vda", "/a")], { disks: [{ name: "vda", source: { path: "/o", type: "file" } }] }, reuse);
  assert.equal(externalDisks(named)[0]?.overlay.path, "/o");
});

test("generated overlays that collide are refused", () => {
  assert.throws(() => align([disk("vda", "/d/a.raw"), disk("vdb", "/d/a.qcow2")]), failure("QM_SAME_FILE", "/d/a.s1"));
});

test("files of the chain, of a running mirror and of a cdrom are in use too", () => {
  const live = disk("vda", "/a", {
    backing: [{ type: "file", path: "/base", format: "raw" }],
    mirror: { target: { type: "file", path: "/m", format: "qcow2" }, state: "ready" },
  });
  const cdrom = disk("sda", "/iso", { device: "cdrom", readonly: true });
  for (const path of ["/base", "/m", "/iso", "/x/../iso"]) {
    const request = { disks: [{ name: "vda", mirror: { path, type: "file" as const } }] };
    assert.throws(() => align([live, cdrom], request), failure("QM_SAME_FILE", "already used by"), path);
  }
});

const pair = [disk("vda", "/a.qcow2"), disk("vdb", "/b.qcow2")];
const external = { name: "vda", snapshot: "external" } as const;

for (const [what, options, request, expected] of [
  ["a running domain, nothing said", full, {}, "running internal vda=internal vdb=internal"],
  ["a paused one", { ...full, paused: true }, {}, "paused internal vda=internal vdb=internal"],
  ["one disk external", full, { disks: [external] }, "running /a.s1.mem vda=external vdb=external"],
  [
    "an overlay named",
    full,
    { disks: [{ name: "vdb", source: { path: "/o", type: "file" as const } }] },
    "running /a.s1.mem vda=external vdb=external",
  ],
  ["memory external", full, { memory: { snapshot: "external" } }, "running /a.s1.mem vda=external vdb=external"],
  ["memory in a file", full, { memory: { snapshot: "external", file: "/m" } }, "running /m vda=external vdb=external"],
  ["memory left", full, { memory: { snapshot: "no" } }, "disk-snapshot no vda=external vdb=external"],
  [
    "a mirror",
    full,
    { disks: [{ name: "vda", mirror: { path: "/n", type: "file" as const } }] },
    "disk-snapshot no vda=external vdb=external",
  ],
  ["disk-only while paused", { ...diskOnly, paused: true }, {}, "disk-snapshot no vda=external vdb=external"],
  [
    "a manual disk beside",
    diskOnly,
    { disks: [{ name: "vdb", snapshot: "manual" }] },
    "disk-snapshot no vda=external vdb=manual",
  ],
  ["an inactive domain, nothing said", inactive, {}, "shutoff no vda=internal vdb=internal"],
  ["an inactive one, disk-only", { ...inactive, diskOnly: true }, {}, "shutoff no vda=external vdb=external"],
  ["an inactive one, one external", inactive, { disks: [external] }, "shutoff no vda=external vdb=internal"],
] satisfies [string, AlignOptions, Partial<SnapshotRequest>, string][]) {
  test(`${what}: ${expected}`, () => {
    assert.equal(kinds(align(pair, request, options)), expected);
  });
}

test("a memory file is made where the service says, or must be named without a disk to name it after", () => {
  const memory = { snapshot: "external" } as const;
  const block = disk("vda", "", { source: { type: "block", path: "/dev/vg/a", format: "qcow2" } });
  const request = { memory, disks: [{ name: "vda", source: { path: "/o", type: "file" as const } }] };
  assert.equal(align([block], request, { ...full, memoryDirectory: "/var/m/" }).memory.file, "/var/m/d.s1.mem");
  assert.throws(() => align([block], request, full), failure("QM_XML_INVALID", "memory@file: must be given"));
});

test("names that would leave the folder or break a line are refused", () => {
  for (const name of ["", " ", ".", "..", "a/b", "..\n", "a\u0000", "x".repeat(256), "é".repeat(128), "\ud800"]) {
    assert.throws(() => align([disk("vda", "/a")], { name }), failure("QM_XML_INVALID", "name:"), JSON.stringify(name));
  }
});

test("whatever is aligned: every path absolute, and no new file the same as any other", () => {
  fc.assert(
    fc.property(arbitrary.domain, arbitrary.domainName, (domain, name) => {
      let aligned: AlignedSnapshot;
      try {
        aligned = alignSnapshot(domain, { name, disks: [] }, diskOnly);
      } catch (error) {
        // No writable disk, a block device, colliding names: refused, and by these codes only.
        assert.ok(
          isQmError(error) && ["QM_INVALID", "QM_XML_INVALID", "QM_SAME_FILE"].includes(error.code),
          String(error),
        );
        return;
      }
      const used = domain.disks.flatMap((d) => (d.source === undefined ? [] : [d.source.path]));
      const created = externalDisks(aligned).map(({ overlay }) => overlay.path);
      assert.deepEqual(
        aligned.disks.map(({ target }) => target),
        domain.disks.map(({ target }) => target),
      );
      assert.equal(new Set(created).size, created.length);
      for (const path of created) assert.ok(path.startsWith("/") && !used.includes(path), path);
    }),
    { numRuns: 300 },
  );
});
