/** Procedures about snapshots. */
import { flagSet, int, list, string, truth } from "../xdr/index.ts";
import { procedure } from "./procedure.ts";
import { domain, maxListItems, snapshot } from "./types.ts";

const noFlags = flagSet();
const filterFlags = {
  ...{ metadata: 1 << 1, leaves: 1 << 2, noLeaves: 1 << 3, noMetadata: 1 << 4, inactive: 1 << 5, active: 1 << 6 },
  ...{ diskOnly: 1 << 7, internal: 1 << 8, external: 1 << 9, topological: 1 << 10 },
} as const;
/** Of a whole domain. */
const treeFlags = flagSet({ roots: 1 << 0, ...filterFlags });
/** Of one snapshot: its children, or all below it. */
const branchFlags = flagSet({ descendants: 1 << 0, ...filterFlags });
const names = list(string, maxListItems);

export const snapshotCreateXml = procedure(
  185,
  "domain_snapshot_create_xml",
  {
    domain,
    xml: string,
    flags: flagSet({
      ...{
        redefine: 1 << 0,
        current: 1 << 1,
        noMetadata: 1 << 2,
        halt: 1 << 3,
        diskOnly: 1 << 4,
        reuseExternal: 1 << 5,
      },
      ...{ quiesce: 1 << 6, atomic: 1 << 7, live: 1 << 8, validate: 1 << 9 },
    }),
  },
  { snapshot },
);
export const snapshotGetXmlDesc = procedure(
  186,
  "domain_snapshot_get_xml_desc",
  { snapshot, flags: flagSet({ secure: 1 << 0 }) },
  { xml: string },
);
export const snapshotNum = procedure(187, "domain_snapshot_num", { domain, flags: treeFlags }, { count: int });
export const snapshotListNames = procedure(
  188,
  "domain_snapshot_list_names",
  { domain, max: int, flags: treeFlags },
  { names },
);
export const snapshotLookupByName = procedure(
  189,
  "domain_snapshot_lookup_by_name",
  { domain, name: string, flags: noFlags },
  { snapshot },
);
export const domainHasCurrentSnapshot = procedure(
  190,
  "domain_has_current_snapshot",
  { domain, flags: noFlags },
  { result: truth },
);
export const snapshotCurrent = procedure(191, "domain_snapshot_current", { domain, flags: noFlags }, { snapshot });
export const snapshotRevert = procedure(
  192,
  "domain_revert_to_snapshot",
  { snapshot, flags: flagSet({ running: 1 << 0, paused: 1 << 1, force: 1 << 2 }) },
  {},
);
/** The mirror flags are qmirror's own, at the upper end so that libvirt's cannot come to collide with them. */
export const snapshotDelete = procedure(
  193,
  "domain_snapshot_delete",
  {
    snapshot,
    flags: flagSet({
      ...{ children: 1 << 0, metadataOnly: 1 << 1, childrenOnly: 1 << 2 },
      ...{ mirrorAbort: 1 << 29, mirrorPivot: 1 << 30 },
    }),
  },
  {},
);
export const snapshotGetParent = procedure(
  244,
  "domain_snapshot_get_parent",
  { snapshot, flags: noFlags },
  { parent: snapshot },
);
export const snapshotNumChildren = procedure(
  246,
  "domain_snapshot_num_children",
  { snapshot, flags: branchFlags },
  { count: int },
);
export const snapshotListChildrenNames = procedure(
  247,
  "domain_snapshot_list_children_names",
  { snapshot, max: int, flags: branchFlags },
  { names },
);
export const snapshotIsCurrent = procedure(
  271,
  "domain_snapshot_is_current",
  { snapshot, flags: noFlags },
  { current: truth },
);
export const snapshotHasMetadata = procedure(
  272,
  "domain_snapshot_has_metadata",
  { snapshot, flags: noFlags },
  { metadata: truth },
);
export const domainListAllSnapshots = procedure(
  274,
  "domain_list_all_snapshots",
  { domain, wanted: truth, flags: treeFlags },
  { snapshots: list(snapshot, maxListItems), count: int },
);
export const snapshotListAllChildren = procedure(
  275,
  "domain_snapshot_list_all_children",
  { snapshot, wanted: truth, flags: branchFlags },
  { snapshots: list(snapshot, maxListItems), count: int },
);
