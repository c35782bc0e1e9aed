/** Ends of block jobs, and that copies have become ready, as libvirt tells them. */
import type { EventView, OperationKind, OperationView } from "../../api-types/index.ts";
import { isQmError } from "../../base/errors.ts";
import { blockJobStatuses, blockJobTypes } from "../protocol/index.ts";
import type { JobTargets } from "./job-targets.ts";
import type { Facade } from "../../service/facade.ts";

export interface BlockJobChange {
  readonly target: string;
  readonly type: number;
  readonly status: number;
}

type Status = keyof typeof blockJobStatuses;

/** What the success of an operation says about the jobs of its disks; other kinds say nothing. */
const successes: Readonly<Partial<Record<OperationKind, readonly [keyof typeof blockJobTypes, Status]>>> = {
  "block-copy": ["copy", "ready"],
  "block-copy-end": ["copy", "completed"],
  "block-commit": ["commit", "completed"],
  "block-pull": ["pull", "completed"],
  "migrate-storage": ["copy", "completed"],
};

/** Block jobs that `event` is about: none where nobody knows the disk. */
export async function readBlockJobs(
  { facade, targets }: { readonly facade: Pick<Facade, "getOperation">; readonly targets: JobTargets },
  event: EventView,
): Promise<BlockJobChange[]> {
  const { disk, operation, state } = event.detail;
  if (event.type === "block-job" && typeof disk === "string") return [change(disk, "copy", "failed")];
  if (event.type !== "operation" || typeof operation !== "string" || state === "running") return [];
  const view = await findOperation(facade, operation);
  const success = view === undefined ? undefined : successes[view.kind];
  if (view === undefined || success === undefined) return [];
  const status = endOf(view, success[1]);
  if (status === undefined) return [];
  const known = targets.find(operation);
  const disks = known === undefined ? view.progress.map(({ target }) => target) : [known];
  return disks.map((target) => change(target, success[0], status));
}

/** Undefined: a copy could not be ended, and goes on. */
function endOf({ kind, state, result }: OperationView, success: Status): Status | undefined {
  if (kind === "block-copy-end" && state !== "succeeded") return undefined;
  if (state !== "succeeded") return state === "cancelled" ? "cancelled" : "failed";
  return kind === "block-copy-end" && result?.["ended"] === "abort" ? "cancelled" : success;
}

function change(target: string, type: keyof typeof blockJobTypes, status: Status): BlockJobChange {
  return { target, type: blockJobTypes[type], status: blockJobStatuses[status] };
}

/** Undefined: it is so old that it was forgotten. */
async function findOperation(facade: Pick<Facade, "getOperation">, id: string): Promise<OperationView | undefined> {
  try {
    return await facade.getOperation(id);
  } catch (error) {
    if (isQmError(error, "QM_NO_OPERATION")) return undefined;
    throw error;
  }
}
