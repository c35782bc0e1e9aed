/** Generators of snapshots with their domain, as the service keeps them. */
import fc from "fast-check";
import type { Disk, DomainDefinition } from "../../src/model/domain.ts";
import { overlayTypes } from "../../src/model/snapshot-disk-parse.ts";
import {
  mirrorStates,
  snapshotStates,
  type Snapshot,
  type SnapshotConfig,
  type SnapshotDisk,
} from "../../src/model/snapshot.ts";
import * as arbitrary from "./arbitrary-domain.ts";

export interface RecordedSnapshot {
  readonly snapshot: Snapshot;
  readonly config: SnapshotConfig;
  readonly current: boolean;
}

const overlay = fc
  .tuple(fc.constantFrom(...overlayTypes), arbitrary.path)
  .map(([type, path]) => ({ type, path, format: "qcow2" as const }));
const mirror = fc
  .tuple(overlay, fc.constantFrom(...mirrorStates))
  .map(([target, state]) => ({ mirror: { target, state } }));
const cookies = [
  "<cookie/>\n",
  "<cookie>\n  <note>words &amp; blanks </note>\n</cookie>\n",
  "<cookie xmlns:n='urn:n'>\n  <n:note n:by='me'>text</n:note>\n  <empty/>\n</cookie>\n",
];

function diskOf({ target, source, device, readonly }: Disk): fc.Arbitrary<SnapshotDisk> {
  if (source === undefined || device !== "disk" || readonly) return fc.constant({ target, snapshot: "no" });
  return fc.oneof(
    fc.constantFrom("no" as const, "manual" as const).map((snapshot) => ({ target, snapshot })),
    fc.constant({ target, snapshot: "internal" as const, base: source }),
    fc
      .tuple(overlay, fc.oneof(fc.constant({}), mirror))
      .map(([made, more]) => ({ target, snapshot: "external" as const, source: made, base: source, ...more })),
  );
}

const memory = fc.oneof(
  fc.constant({}),
  fc.constant({ memory: { snapshot: "internal" as const } }),
  arbitrary.path.map((file) => ({ memory: { snapshot: "external" as const, file } })),
);

/** Snapshots of this domain. */
export function recordedSnapshot(domain: DomainDefinition): fc.Arbitrary<RecordedSnapshot> {
  const text = <K extends string>(key: K, value: fc.Arbitrary<string>): fc.Arbitrary<{ [P in K]?: string }> =>
    fc.option(value, { nil: undefined }).map((one) => (one === undefined ? {} : { [key]: one })) as never;
  const changed: DomainDefinition = { ...domain, memoryBytes: domain.memoryBytes * 2 };
  return fc
    .tuple(
      arbitrary.domainName,
      text("description", arbitrary.xmlText),
      text("parent", arbitrary.domainName),
      text("cookie", fc.constantFrom(...cookies)),
      fc.nat(),
      fc.constantFrom(...snapshotStates),
      memory,
      fc.tuple(...domain.disks.map(diskOf)),
      fc.constantFrom<SnapshotConfig>({ domain }, { domain, inactiveDomain: changed }),
      fc.boolean(),
    )
    .map(([name, description, parent, cookie, creationTime, state, kept, disks, config, current]) => ({
      snapshot: {
        name,
        ...description,
        ...parent,
        ...cookie,
        creationTime,
        state,
        ...(state === "running" || state === "paused" ? kept : {}),
        domainName: domain.name,
        domainUuid: domain.uuid,
        disks,
      },
      config,
      current,
    }));
}
