/** What recovery will do, for people: the table of `reconcile.ts` and `run-tasks.ts` in words. Pure, and held against them by a test. */
import { mirroredDisks, type MirroredDiskPlan, type StoragePlan } from "../steps/storage-plan.ts";
import { labelOf, type TaskPlan } from "../steps/task-plan.ts";
import { resumable, type JournalView } from "./reconcile.ts";

export interface Forecast {
  readonly succeeds: boolean;
  readonly text: string;
}

export interface KnownRecords {
  /** Being undone already. */
  readonly undoing: boolean;
  /** QEMU left some disks where they were. */
  readonly left: boolean;
  /** The clone was finished. */
  readonly cloned: boolean;
}

const back = (text: string): Forecast => ({ succeeds: false, text });
const forward = (text: string): Forecast => ({ succeeds: true, text });

/** `isInStep`: its device writes to its overlay, and its mirror's job is `ready` or `pending`. */
export function foreseeAlive(
  plan: StoragePlan,
  view: JournalView,
  known: KnownRecords,
  isInStep: (disk: MirroredDiskPlan) => boolean,
): Forecast {
  if (view.fact === "pivot") return forward("go on with finish-pivot: every disk moves to its mirror");
  if (view.fact === "merged") return forward("finish the merge, then remove the files that are not needed any more");
  if (view.fact === "clone") return forward("finish the clone, then merge the overlays back");
  if (view.fact === "commit-back") {
    const text = "finish the merge and remove the files that are not needed any more";
    return known.cloned ? forward(text) : back(text);
  }
  if (plan.steps[0] === "stop-mirrors") return forward("go on with stop-mirrors");
  if (!known.undoing && resumable.has(view.step) && mirroredDisks(plan).every(isInStep)) {
    return forward(`go on with ${view.step}`);
  }
  return back(`undo it from ${view.step} on`);
}

/** QEMU is dead. */
export function foreseeDead(plan: StoragePlan, view: JournalView, known: KnownRecords): Forecast {
  if (known.left) return back("end it and remove nothing: some disks never left their source");
  const source = plan.steps.includes("remove-source") ? "remove the source's files" : "nothing is left to do";
  const mirrors = back("remove mirrors and begun copies; the domain stays on its overlays");
  switch (view.fact) {
    case "merged":
      return forward(`remove the mirrors' files; ${source}`);
    case "pivot":
      return forward(source);
    case "clone":
      return forward("nothing is left to do: the clone is whole");
    case "commit-back":
      return { succeeds: known.cloned, text: "remove the overlays, which are not needed any more" };
    case "snapshot-taken":
    case "mirrored":
    case "mirrors-ended":
      return mirrors;
    case undefined:
      if (plan.steps.includes("take-snapshot")) {
        return view.step === "take-snapshot" ? mirrors : back("remove the new files; the domain is as it was");
      }
      return { ...mirrors, succeeds: plan.steps[0] === "stop-mirrors" };
    default:
      return view.fact satisfies never;
  }
}

/** QEMU alive or dead: every task looks before it acts. */
export function foreseeTasks(plan: TaskPlan, index: number, decided: boolean): Forecast {
  if (!decided) return back(`undo it from task ${labelOf(plan, index)} on`);
  return forward(`go on with task ${labelOf(plan, Math.max(index, plan.decidedAt))}`);
}
