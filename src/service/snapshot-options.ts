/** Which options of a request exclude or need each other, as libvirt has it. The front ends apply these before they call the facade. */
import type {
  BlockCommitBody,
  RestoreBody,
  SaveBody,
  SnapshotCreateBody,
  SnapshotDeleteBody,
  SnapshotFilter,
  SnapshotRevertBody,
} from "../api-types/index.ts";
import type { ConflictRules } from "../base/option-conflicts.ts";

/** virDomainSnapshotCreateXML and virsh's `snapshot-create`, `snapshot-create-as`. */
export const snapshotCreateRules: ConflictRules<SnapshotCreateBody> = {
  exclusive: [
    // A document describes the whole snapshot.
    ["xml", "name"],
    ["xml", "description"],
    ["xml", "diskspecs"],
    ["xml", "memspec"],
    // Redefining touches no image and no guest.
    ["redefine", "noMetadata"],
    ["redefine", "halt"],
    ["redefine", "live"],
    ["redefine", "quiesce"],
    ["redefine", "reuseExternal"],
    ["redefine", "printXml"],
    ["redefine", "bytesPerS"],
    ["diskOnly", "live"],
    ["diskOnly", "memspec"],
  ],
  requires: { current: ["redefine"], redefine: ["xml"], quiesce: ["diskOnly"], live: ["memspec", "xml"] },
};

/** virDomainListAllSnapshots and virDomainSnapshotListAllChildren. */
export const snapshotFilterRules: ConflictRules<SnapshotFilter> = {
  exclusive: [["roots", "from"]],
  requires: { descendants: ["from"] },
};

/** virDomainSnapshotDelete. */
export const snapshotDeleteRules: ConflictRules<SnapshotDeleteBody> = { exclusive: [["children", "childrenOnly"]] };

/** virDomainRevertToSnapshot, virDomainSaveFlags and virDomainRestoreFlags. */
export const stateAfterwardsRules: ConflictRules<
  Pick<SnapshotRevertBody & SaveBody & RestoreBody, "running" | "paused">
> = {
  exclusive: [["running", "paused"]],
};

/** virDomainBlockCommit: `shallow` names the base already. */
export const blockCommitRules: ConflictRules<BlockCommitBody> = { exclusive: [["base", "shallow"]] };
