/**
 * The monitors of 2012: RHEL 6.3 (`__com.redhat_` before the new commands) and what was proposed for QEMU 1.1. One
 * `transaction` takes the snapshot and starts the mirrors; `drive-reopen` ends a mirror and opens a file of our choice, one
 * disk at a time.
 *
 * Those mirrors are weaker than today's: they may lag behind the guest, they are written without flushes, and their metadata
 * is complete only when `drive-reopen` has closed them. A QEMU killed before that leaves targets that cannot be trusted. So
 * the pivot reopens *before* the decision, with the guest stopped:
 *
 *   stop, drive-reopen all to their mirrors, look, fsync the mirrors   (preparePivot)
 *   the caller writes its decision
 *   look, cont                                                        (finishPivot)
 *
 * The guest writes nothing in between, so up to the decision the sources hold every acknowledged write, and after it the
 * mirrors do, whatever dies. For the same reason the `witness` argument of `drive-reopen` (a passed descriptor, which Node
 * cannot send) is not needed: it tells whether the guest may have written to the new image, and here it cannot have.
 *
 * A caller that finds the guest stopped and disks on their mirrors, with no decision written, calls `cancelPivot`.
 */
import { allSettledOrFirstError } from "../../base/settle.ts";
import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { cancellation } from "../../base/abort.ts";
import { QmError, errorText } from "../../base/errors.ts";
import type { Monitor } from "../monitor.ts";
import type { ImageCreator, MirrorDialect, MirroredDiskPlan, SnapshotDiskPlan } from "./dialect.ts";
import { createHeaders } from "./drive.ts";
import { asOldMonitor, mirrorTarget, reopenDisks, snapshotActions, type ReopenPrefix } from "./reopen-commands.ts";
import { endedReason, isForeign, isOnSource, lookAtDisks, type DiskView, type View } from "./reopen-view.ts";

/** The commands without which the dialect cannot work. */
export function reopenCommands(prefix: ReopenPrefix): readonly string[] {
  return ["transaction", `${prefix}drive-mirror`, `${prefix}drive-reopen`, "query-block-jobs"];
}

/** QEMU's own interval between two looks at a mirror: these versions have no event for "ready". */
const readyIntervalMs = 100;

/**
 * Whether we have stopped the guest, by connection. Unknown after a reconnect: a guest found stopped in a pivot then is
 * resumed, since it ran in all likelihood, and one left stopped for ever would be worse.
 */
const stoppedByUs = new WeakMap<Monitor, boolean>();

export function createReopenDialect(options: { prefix: ReopenPrefix; createImage: ImageCreator }): MirrorDialect {
  const { prefix, createImage } = options;

  async function giveUpMirrors(
    monitor: Monitor,
    disks: readonly MirroredDiskPlan[],
    resumeByDefault: boolean,
  ): Promise<void> {
    const old = asOldMonitor(monitor);
    const view = await lookAtDisks(old, disks);
    const onMirror = view.disks.filter(({ active }) => active === "mirror");
    if (view.running && onMirror.length > 0) {
      throw new QmError("QM_OPERATION_FAILED", {
        operation: "giving the mirrors up",
        reason: `the guest is running on ${names(onMirror)}: its source is out of date`,
      });
    }
    const refused = await reopenDisks(
      old,
      prefix,
      view.disks.filter((entry) => !isOnSource(entry) && !isForeign(entry)).map(({ disk }) => disk),
      "overlay",
    );
    const after = await lookAtDisks(old, disks);
    const stuck = after.disks.find((entry) => !isOnSource(entry));
    // Not resumed: with some disks here and some there, the next guest write would split them.
    if (stuck !== undefined) throw notReopened(stuck, refused, after);
    const ours = stoppedByUs.get(monitor) ?? (resumeByDefault || onMirror.length > 0);
    stoppedByUs.delete(monitor);
    if (!after.running && ours) await old.execute("cont");
  }

  /** Rejects before anything was changed. */
  async function requireAllReady(
    monitor: Monitor,
    disks: readonly MirroredDiskPlan[],
  ): Promise<View<MirroredDiskPlan>> {
    const view = await lookAtDisks(asOldMonitor(monitor), disks);
    stoppedByUs.set(monitor, !view.running && stoppedByUs.get(monitor) === true);
    view.disks.forEach(requireReady);
    return view;
  }

  /** Stops the guest, reopens all and looks: on return every disk is on `role`, its mirror has ended in sync and is on disk. */
  async function endMirrors(
    monitor: Monitor,
    { running, disks: before }: View<MirroredDiskPlan>,
    role: "overlay" | "mirror",
    timeoutMs: number,
  ): Promise<void> {
    const old = asOldMonitor(monitor);
    if (running) {
      stoppedByUs.set(monitor, true);
      await old.execute("stop", undefined, { timeoutMs });
    }
    const disks = before.map(({ disk }) => disk);
    const refused = await reopenDisks(old, prefix, disks, role, timeoutMs);
    const view = await lookAtDisks(old, disks);
    const stuck = view.disks.find(
      ({ disk, active, mirror }) => active !== role || mirror !== "none" || refused.has(disk.target),
    );
    if (stuck !== undefined) throw notReopened(stuck, refused, view);
    await allSettledOrFirstError(disks.map(syncMirror));
  }

  return {
    name: prefix === "" ? "reopen" : "redhat",

    async prepare(_monitor, disks, signal) {
      await createHeaders(disks, createImage, signal);
    },

    // QEMU opens the images by itself, when the snapshot is taken.
    undoPrepare: () => Promise.resolve(),

    async takeSnapshot(monitor, disks) {
      await asOldMonitor(monitor).execute("transaction", {
        actions: disks.flatMap((disk) => snapshotActions(disk, prefix)),
      });
    },

    /**
     * The transaction has started them; a disk without a mirror (it ended by itself) gets a new one, which copies what is in
     * the overlay. `bytesPerS` holds for those only: a transaction's mirror has no speed.
     */
    async startMirrors(monitor, disks, bytesPerS) {
      const old = asOldMonitor(monitor);
      const ended = (await lookAtDisks(old, disks)).disks.filter(({ mirror }) => mirror === "none");
      if (ended.length === 0) return;
      await allSettledOrFirstError(
        ended.map(({ disk }) =>
          old.execute(`${prefix}drive-mirror`, {
            ...mirrorTarget(disk),
            ...(bytesPerS > 0 ? { speed: bytesPerS } : {}),
          }),
        ),
      );
      const again = await lookAtDisks(
        old,
        ended.map(({ disk }) => disk),
      );
      const incomplete = again.disks.filter(({ byDriver }) => byDriver).map(({ disk }) => disk);
      if (incomplete.length === 0) return;
      await reopenDisks(old, prefix, incomplete, "overlay");
      throw new QmError("QM_UNSUPPORTED", {
        what: "starting a mirror again",
        detail: ": this QEMU copies nothing that was written before",
      });
    },

    /** Asks every 100 ms until all are in sync, mostly once: the overlays are empty when their mirrors start. */
    async awaitReady(monitor, disks, signal) {
      for (;;) {
        const view = await lookAtDisks(asOldMonitor(monitor), disks);
        for (const entry of view.disks) {
          if (entry.mirror !== "none") continue;
          throw new QmError("QM_JOB_FAILED", { disk: entry.disk.target, job: "mirror", reason: endedReason(entry) });
        }
        if (view.disks.every(({ mirror }) => mirror === "ready")) return;
        await sleep(readyIntervalMs, undefined, { signal }).catch(() => {
          throw cancellation("waiting for the mirrors", signal);
        });
      }
    },

    stopMirrors: (monitor, disks) => giveUpMirrors(monitor, disks, false),

    // The mirror's header names its backing image, and `drive-reopen` opens it.
    attachBacking: () => Promise.resolve(),

    /** On success the guest is stopped, its devices have the mirrors open, and source and mirror are identical on disk. */
    async preparePivot(monitor, disks, timeoutMs) {
      await endMirrors(monitor, await requireAllReady(monitor, disks), "mirror", timeoutMs);
    },

    /** Resumes the guest if it ran, on its sources; leaves it stopped, with `QM_JOB_FAILED`, when a source cannot be opened. */
    cancelPivot: (monitor, disks) => giveUpMirrors(monitor, disks, true),

    /** Reopens nothing: a disk found on its source has had no mirror since, and its mirror may be out of date. */
    async finishPivot(monitor, disks) {
      const old = asOldMonitor(monitor);
      const view = await lookAtDisks(old, disks);
      const ours = stoppedByUs.get(monitor) ?? true;
      stoppedByUs.delete(monitor);
      if (!view.running && ours) await old.execute("cont");
      return view.disks
        .filter(({ active }) => active !== "mirror")
        .map(({ disk, file }) => ({ target: disk.target, reason: `QEMU has ${file ?? "no image"} open` }));
    },

    /** The guest is stopped while the mirrors end: one instant for all disks. It is resumed on success and on failure. */
    async finishClone(monitor, disks, decide, timeoutMs) {
      const view = await requireAllReady(monitor, disks);
      try {
        await endMirrors(monitor, view, "overlay", timeoutMs);
        decide();
      } catch (error) {
        await giveUpMirrors(monitor, disks, false).catch((second: unknown) => {
          throw new QmError(
            "QM_OPERATION_FAILED",
            { operation: "clone", reason: `${errorText(error)}; then ${errorText(second)}` },
            { cause: error },
          );
        });
        throw error;
      }
      const ours = stoppedByUs.get(monitor) === true;
      stoppedByUs.delete(monitor);
      if (ours) await asOldMonitor(monitor).execute("cont");
    },

    // `drive-reopen` has closed the whole old chain.
    closeSource: () => Promise.resolve(),

    commitBack: () =>
      Promise.reject(
        new QmError("QM_UNSUPPORTED", {
          what: "merging an overlay back",
          detail: " by this QEMU: the guest goes on on the overlay",
        }),
      ),

    finishCommitBack: () => Promise.resolve(),

    async observe(monitor, disks) {
      const view = await lookAtDisks(asOldMonitor(monitor), disks);
      return view.disks.map(({ disk, active, mirror }) => ({
        target: disk.target,
        active,
        ...(mirror === "none" ? {} : { job: mirror === "ready" ? "ready" : "running" }),
      }));
    },
  };
}

/** The mirror was written without flushes, and `drive-reopen` does not flush what it closes. */
async function syncMirror({ mirror }: MirroredDiskPlan): Promise<void> {
  const { path } = mirror.image;
  try {
    await using file = await open(path, "r");
    await file.sync();
  } catch (error) {
    throw new QmError("QM_IO", { what: "fsync of", path, reason: errorText(error) }, { cause: error });
  }
}

function requireReady({ disk, active, mirror, ...rest }: DiskView<MirroredDiskPlan>): void {
  if (active !== "overlay" || mirror === "none") {
    const reason = endedReason({ disk, active, mirror, ...rest });
    throw new QmError("QM_MIRROR_BROKEN", { disk: disk.target, reason });
  }
  if (mirror !== "ready") throw new QmError("QM_MIRROR_NOT_READY", { disk: disk.target, state: mirror });
}

function notReopened(
  stuck: DiskView<SnapshotDiskPlan>,
  refused: ReadonlyMap<string, string>,
  view: View<SnapshotDiskPlan>,
): QmError {
  const reason = refused.get(stuck.disk.target) ?? `QEMU has ${stuck.file ?? "no image"} open`;
  return new QmError("QM_JOB_FAILED", {
    disk: stuck.disk.target,
    job: "drive-reopen",
    reason: view.running ? reason : `${reason}; the guest is stopped`,
  });
}

function names(entries: readonly DiskView<SnapshotDiskPlan>[]): string {
  return entries.map(({ disk }) => disk.target).join(", ");
}
