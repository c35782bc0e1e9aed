import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatSnapshot } from "../../src/model/snapshot-format.ts";
import { parseSnapshotRequest } from "../../src/model/snapshot-parse.ts";
import { mirrorStates, type Snapshot } from "../../src/model/snapshot.ts";
import { readXml } from "../../src/xml/read.ts";
import { validateXml } from "../../src/xml/validate.ts";
import * as arbitrary from "./arbitrary-domain.ts";

const snapshot: fc.Arbitrary<Snapshot> = fc
  .record({
    name: arbitrary.domainName,
    description: fc.option(arbitrary.xmlText, { nil: undefined }),
    creationTime: fc.nat(),
    source: arbitrary.image,
    target: arbitrary.image,
    state: fc.constantFrom(...mirrorStates),
    hasMirror: fc.boolean(),
  })
  .map(({ name, description, creationTime, source, target, state, hasMirror }) => ({
    name,
    ...(description === undefined ? {} : { description }),
    creationTime,
    state: "disk-snapshot" as const,
    domainName: "d",
    domainUuid: "u",
    disks: [
      {
        target: "vda",
        snapshot: "external" as const,
        source: { ...source, format: "qcow2" as const },
        ...(hasMirror ? { mirror: { target: { ...target, format: "qcow2" as const }, state } } : {}),
      },
      { target: "vdb", snapshot: "no" as const },
    ],
  }));

test("every snapshot is valid by the schema when written, and its own XML asks for the same disks again", () => {
  fc.assert(
    fc.property(snapshot, (made) => {
      const written = formatSnapshot(made);
      validateXml(written, "domainsnapshot");
      const request = parseSnapshotRequest(written);
      assert.equal(request.name, made.name);
      assert.equal(request.description, made.description);
      const [external] = made.disks;
      const { format: _, ...source } = external?.source ?? { format: undefined };
      assert.deepEqual(request.disks, [
        {
          name: "vda",
          snapshot: "external",
          source,
          format: "qcow2",
          ...(external?.mirror === undefined ? {} : { mirror: external.mirror.target }),
        },
        { name: "vdb", snapshot: "no" },
      ]);
    }),
    { numRuns: 200 },
  );
});

test("only a ready mirror says so", () => {
  fc.assert(
    fc.property(snapshot, (made) => {
      const mirror = readXml(formatSnapshot(made))
        .children.at(-1)
        ?.children[0]?.children.find((e) => e.name === "mirror");
      const state = made.disks[0]?.mirror?.state;
      assert.equal(mirror?.attributes.get("ready"), state === "ready" ? "yes" : undefined);
    }),
  );
});
