import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatSnapshot } from "../../src/model/snapshot-format.ts";
import { parseSnapshotRequest } from "../../src/model/snapshot-parse.ts";
import { parseSnapshotRedefinition } from "../../src/model/snapshot-redefine.ts";
import type { Snapshot } from "../../src/model/snapshot.ts";
import type { XmlElement } from "../../src/xml/element.ts";
import { readXml } from "../../src/xml/read.ts";
import { validateXml } from "../../src/xml/validate.ts";
import * as arbitrary from "./arbitrary-domain.ts";
import { recordedSnapshot } from "./arbitrary-snapshot.ts";

const recorded = arbitrary.domain.chain(recordedSnapshot);

function withoutMirrors(snapshot: Snapshot): Snapshot {
  return { ...snapshot, disks: snapshot.disks.map(({ mirror: _, ...disk }) => disk) };
}

test("what is written and redefined is the same snapshot, and is written as the same text again", () => {
  fc.assert(
    fc.property(recorded, ({ snapshot, config, current }) => {
      const written = formatSnapshot(withoutMirrors(snapshot), { config, current });
      const read = parseSnapshotRedefinition(written, config.domain);
      assert.deepEqual(read, { snapshot: withoutMirrors(snapshot), config, current });
      assert.equal(formatSnapshot(read.snapshot, read), written);
    }),
    { numRuns: 200 },
  );
});

test("without the definition nothing is lost but what the definition tells", () => {
  fc.assert(
    fc.property(recorded, ({ snapshot, config }) => {
      const written = formatSnapshot(snapshot);
      const read = parseSnapshotRedefinition(written, config.domain);
      const disks = withoutMirrors(snapshot).disks.map(({ base: _, ...disk }) => disk);
      assert.deepEqual(read, { snapshot: { ...snapshot, disks } });
    }),
  );
});

test("every snapshot is valid by the schema when written, and asks for the same again", () => {
  fc.assert(
    fc.property(recorded, ({ snapshot, config, current }) => {
      const written = formatSnapshot(snapshot, { config, current });
      validateXml(written, "domainsnapshot");
      const request = parseSnapshotRequest(written);
      assert.deepEqual(
        [request.name, request.description, request.memory ?? { snapshot: "no" }],
        [snapshot.name, snapshot.description, snapshot.memory ?? { snapshot: "no" }],
      );
      const disks = snapshot.disks.map(({ target, snapshot: kind, source, mirror }) => ({
        name: target,
        snapshot: kind,
        ...(source === undefined ? {} : { source: { type: source.type, path: source.path }, format: source.format }),
        ...(mirror === undefined ? {} : { mirror: mirror.target }),
      }));
      assert.deepEqual(request.disks, disks);
    }),
    { numRuns: 200 },
  );
});

test("only a ready mirror says so", () => {
  const named = (element: XmlElement | undefined, name: string): XmlElement | undefined =>
    element?.children.find((child) => child.name === name);
  fc.assert(
    fc.property(recorded, ({ snapshot }) => {
      const written = named(readXml(formatSnapshot(snapshot)), "disks")?.children ?? [];
      const shown = written.map((disk) => named(disk, "mirror")?.attributes.get("ready"));
      const expected = snapshot.disks.map(({ mirror }) => (mirror?.state === "ready" ? "yes" : undefined));
      assert.deepEqual(shown, expected);
    }),
  );
});
