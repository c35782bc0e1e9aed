/** Snapshots. */
import type { SnapshotFilter, SnapshotView } from "../../api-types/index.ts";
import { refuseConflicts } from "../../base/option-conflicts.ts";
import { QmError } from "../../base/errors.ts";
import { parseSnapshotRequest } from "../../model/snapshot-parse.ts";
import * as protocol from "../protocol/index.ts";
import type { WireDomain, WireSnapshot } from "../protocol/index.ts";
import { serve, type Session } from "./served.ts";

/** The snapshot that a client's reference is about. `QM_NO_DOMAIN`, `QM_NO_SNAPSHOT`. */
function findSnapshot({ facade }: Session, { name, domain }: WireSnapshot): Promise<SnapshotView> {
  return facade.getSnapshot(domain.uuid, name);
}

function list({ facade }: Session, domain: WireDomain, filter: SnapshotFilter): Promise<SnapshotView[]> {
  return facade.listSnapshots(domain.uuid, filter);
}

async function listNames(session: Session, domain: WireDomain, filter: SnapshotFilter, max: number): Promise<string[]> {
  return (await list(session, domain, filter)).slice(0, Math.max(0, max)).map(({ name }) => name);
}

async function listReferences(session: Session, domain: WireDomain, filter: SnapshotFilter, wanted: boolean) {
  const found = await list(session, domain, filter);
  return { snapshots: wanted ? found.map(({ name }) => ({ name, domain })) : [], count: found.length };
}

const branch = <F extends SnapshotFilter>({ name }: WireSnapshot, flags: F) => ({ ...flags, from: name });

/** Ending mirrors deletes nothing. */
const exclusiveDeleteFlags = [
  ["mirrorAbort", "mirrorPivot", "children"],
  ["mirrorAbort", "mirrorPivot", "childrenOnly"],
  ["mirrorAbort", "mirrorPivot", "metadataOnly"],
] as const;

export const snapshotProcedures = [
  serve(protocol.snapshotCreateXml, "write", async ({ facade }, { domain, xml, flags }) => {
    // Every snapshot is atomic.
    const { atomic: _atomic, ...options } = flags;
    const created = await facade.createSnapshot(domain.uuid, { xml, ...options });
    // Without metadata the snapshot is told by its description alone.
    const name = created.snapshot?.name ?? parseSnapshotRequest(created.xml).name ?? "";
    return { snapshot: { name, domain } };
  }),
  serve(protocol.snapshotGetXmlDesc, "read", async ({ facade }, { snapshot }) => ({
    xml: await facade.snapshotXml(snapshot.domain.uuid, snapshot.name),
  })),
  serve(protocol.snapshotNum, "read", async (session, { domain, flags }) => ({
    count: (await list(session, domain, flags)).length,
  })),
  serve(protocol.snapshotListNames, "read", async (session, { domain, max, flags }) => ({
    names: await listNames(session, domain, flags, max),
  })),
  serve(protocol.domainListAllSnapshots, "read", (session, { domain, wanted, flags }) =>
    listReferences(session, domain, flags, wanted),
  ),
  serve(protocol.snapshotNumChildren, "read", async (session, { snapshot, flags }) => ({
    count: (await list(session, snapshot.domain, branch(snapshot, flags))).length,
  })),
  serve(protocol.snapshotListChildrenNames, "read", async (session, { snapshot, max, flags }) => ({
    names: await listNames(session, snapshot.domain, branch(snapshot, flags), max),
  })),
  serve(protocol.snapshotListAllChildren, "read", (session, { snapshot, wanted, flags }) =>
    listReferences(session, snapshot.domain, branch(snapshot, flags), wanted),
  ),
  serve(protocol.snapshotLookupByName, "read", async (session, { domain, name }) => {
    await findSnapshot(session, { name, domain });
    return { snapshot: { name, domain } };
  }),
  serve(protocol.domainHasCurrentSnapshot, "read", async (session, { domain }) => ({
    result: (await list(session, domain, {})).some(({ current }) => current),
  })),
  serve(protocol.snapshotCurrent, "read", async ({ facade }, { domain }) => ({
    snapshot: { name: (await facade.currentSnapshot(domain.uuid)).name, domain },
  })),
  serve(protocol.snapshotGetParent, "read", async (session, { snapshot }) => {
    const { name, parent } = await findSnapshot(session, snapshot);
    if (parent === undefined) throw new QmError("QM_NO_PARENT_SNAPSHOT", { snapshot: name });
    return { parent: { name: parent, domain: snapshot.domain } };
  }),
  serve(protocol.snapshotIsCurrent, "read", async (session, { snapshot }) => ({
    current: (await findSnapshot(session, snapshot)).current,
  })),
  serve(protocol.snapshotHasMetadata, "read", async (session, { snapshot }) => {
    await findSnapshot(session, snapshot);
    return { metadata: true };
  }),
  serve(protocol.snapshotRevert, "write", async ({ facade }, { snapshot, flags }) => {
    await facade.revertSnapshot(snapshot.domain.uuid, snapshot.name, flags);
    return {};
  }),
  serve(protocol.snapshotDelete, "write", async ({ facade }, { snapshot, flags }) => {
    refuseConflicts(flags, { exclusive: exclusiveDeleteFlags });
    const { mirrorAbort, mirrorPivot, ...options } = flags;
    const { name, domain } = snapshot;
    if (mirrorAbort || mirrorPivot) await facade.endMirrors(domain.uuid, name, mirrorPivot ? "pivot" : "abort");
    else await facade.deleteSnapshot(domain.uuid, name, options);
    return {};
  }),
];
