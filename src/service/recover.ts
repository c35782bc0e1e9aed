/** `recover`: what did not come to its end by itself, as the journal and QEMU tell it, and what can be done. */
import type {
  QemuSays,
  RecoveryAction,
  RecoveryFinding,
  RecoveryView,
  UnfinishedOperation,
} from "../api-types/index.ts";
import { withLimits } from "../base/abort.ts";
import { errorText, QmError } from "../base/errors.ts";
import { foreseeAlive, foreseeDead, foreseeTasks, type Forecast } from "../engine/recovery/foresee.ts";
import { readView } from "../engine/recovery/reconcile.ts";
import type { StoragePlan } from "../engine/steps/storage-plan.ts";
import type { OperationRecord, OperationRow } from "../journal/operations.ts";
import { queryJobs } from "../qemu/block-jobs.ts";
import { readGuestDisks } from "../qemu/block-graph.ts";
import { isAlive, isStopped } from "../qemu/identity.ts";
import { isConnected } from "../qemu/monitor.ts";
import type { DomainEntry } from "./domain-entry.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import type { RecoveryCases } from "./facade.ts";
import type { AnyPlan } from "./operations.ts";
import { findLeftovers, listDeparted } from "./recover-leftovers.ts";
import { trueImage } from "./truth.ts";

/** QEMU has this long to answer: one that hangs must be shown, not waited for. */
const askTimeoutMs = 2000;

export interface RecoverDeps extends LifecycleDeps {
  /** Finds the domain's QEMU again and settles its operations. Never rejects: a failure is in `entry.busy`. */
  readonly recover: (entry: DomainEntry) => Promise<void>;
}

export function createRecoverCases(deps: RecoverDeps): RecoveryCases {
  const show = async (domain: string | undefined): Promise<RecoveryView> => {
    const departed = listDeparted(deps.store).filter(
      ({ name, uuid }) => domain === undefined || [name, uuid].includes(domain),
    );
    const entries = entriesOf(deps, domain);
    // `QM_NO_DOMAIN`; one that has departed is known as such only.
    if (domain !== undefined && entries.length + departed.length === 0) deps.registry.get(domain);
    const rows = unfinishedRows(deps, domain);
    return {
      operations: await Promise.all(rows.map((row) => describeOperation(deps, row))),
      findings: [...describeFailures(entries, rows), ...(await findLeftovers(deps, entries))],
      departed,
      applied: [],
    };
  };
  return {
    showRecovery: show,
    async applyRecovery(domain) {
      const rows = unfinishedRows(deps, domain);
      for (const row of rows) await applyAction(deps, row);
      for (const entry of entriesOf(deps, domain)) {
        if (entry.busy?.failure !== undefined) await deps.recover(entry);
      }
      const applied = rows.map(({ id }) => deps.operations.view(id)).filter(({ state }) => state !== "running");
      return { ...(await show(domain)), applied };
    },
  };
}

/**
 * Operations of domains that the state file does not have any more: everything was settled, only their end could not be recorded.
 * They are ended as failed.
 */
export function endOrphans({ store, registry }: Pick<LifecycleDeps, "store" | "registry">): void {
  for (const row of store.operations.list({ running: true })) {
    if (registry.find(row.domain) === undefined) endOrphan(store, row);
  }
}

function endOrphan(store: LifecycleDeps["store"], row: OperationRow): void {
  const reason = "its end could not be recorded, and its domain is gone with its QEMU";
  const error = new QmError("QM_INTERRUPTED", { operation: row.id, reason }).toJSON();
  store.operations.end(row.id, "failed", { error });
}

function entriesOf({ registry }: RecoverDeps, domain: string | undefined): DomainEntry[] {
  if (domain === undefined) return registry.list();
  const entry = registry.find(domain);
  return entry === undefined ? [] : [entry];
}

function unfinishedRows({ store, registry }: RecoverDeps, domain: string | undefined): OperationRow<AnyPlan>[] {
  const entry = domain === undefined ? undefined : registry.find(domain);
  return store.operations
    .list<AnyPlan>({ running: true })
    .filter((row) => domain === undefined || row.domain === (entry?.uuid ?? domain) || row.plan.domain.name === domain);
}

async function applyAction(deps: RecoverDeps, row: OperationRow<AnyPlan>): Promise<void> {
  const entry = deps.registry.find(row.domain);
  // An earlier one of the same domain may have settled it.
  if (deps.store.operations.get(row.id)?.state !== "running") return;
  const kind = kindOfAction(deps, entry, row.id);
  if (kind === "end") endOrphan(deps.store, row);
  if (kind !== "recover" || entry === undefined) return;
  await deps.recover(entry);
  await deps.operations.find(row.id)?.done;
}

/** `wait` as long as somebody is at it. */
function kindOfAction(deps: RecoverDeps, entry: DomainEntry | undefined, id: string): RecoveryAction["kind"] {
  if (entry === undefined) return "end";
  if (deps.operations.find(id) !== undefined) return "wait";
  return entry.busy === undefined || entry.busy.failure !== undefined ? "recover" : "wait";
}

/** Domains that could not be found again, and have no operation that shows it. */
function describeFailures(entries: readonly DomainEntry[], rows: readonly OperationRow[]): RecoveryFinding[] {
  return entries.flatMap(({ name: domain, uuid, busy }) => {
    if (busy?.failure === undefined || rows.some((row) => row.domain === uuid)) return [];
    const next = `\`qmirror recover ${domain} --apply\` tries again`;
    return [{ what: "unrecovered", domain, text: `it could not be recovered: ${busy.what}`, paths: [], next }];
  });
}

async function describeOperation(deps: RecoverDeps, row: OperationRow<AnyPlan>): Promise<UnfinishedOperation> {
  const entry = deps.registry.find(row.domain);
  const records = deps.store.operations.records(row.id);
  const qemu = await askQemu(entry);
  const undoing = records.some(({ kind }) => kind === "rollback");
  return {
    operation: row.id,
    kind: row.kind,
    domain: entry?.name ?? row.plan.domain.name,
    startedAt: row.startedAt,
    journal: {
      step: row.step,
      ...(row.decision === undefined ? {} : { decision: row.decision }),
      undoing,
      records: records.map(({ at, kind, data }) => ({ at, kind, data })),
    },
    qemu,
    truth: truthOf(entry, row, records, qemu),
    action: describeAction(deps, entry, row, records, qemu),
  };
}

async function askQemu(entry: DomainEntry | undefined): Promise<QemuSays> {
  const nothing = { disks: [], jobs: [] };
  if (entry?.run === undefined) return { process: "none", monitor: "none", ...nothing };
  const { identity } = entry.run;
  if (identity === undefined || !isAlive(identity)) return { process: "gone", monitor: "none", ...nothing };
  const found = { process: isStopped(identity) ? "stopped" : "running", pid: identity.pid } as const;
  const { monitor } = entry;
  if (monitor === undefined || !isConnected(monitor)) return { ...found, monitor: "silent", ...nothing };
  try {
    const answers = Promise.all([readGuestDisks(monitor), queryJobs(monitor)]);
    const [disks, jobs] = await withLimits("asking QEMU", answers, { timeoutMs: askTimeoutMs });
    return {
      ...found,
      monitor: "connected",
      disks: disks.map(({ target, layers }) => ({ target, active: layers[0]?.image.path ?? "" })),
      jobs: jobs.map(({ id, status, error }) => ({ id, status, ...(error === undefined ? {} : { error }) })),
    };
  } catch {
    return { ...found, monitor: "silent", ...nothing };
  }
}

/** The definition names what the last fact made true; a snapshot whose outcome is unknown is the one thing that it cannot know. */
function truthOf(
  entry: DomainEntry | undefined,
  row: OperationRow<AnyPlan>,
  records: readonly OperationRecord[],
  qemu: QemuSays,
): UnfinishedOperation["truth"] {
  const definition = entry?.run?.definition ?? entry?.definition;
  const { plan } = row;
  return (definition?.disks ?? []).flatMap(({ target, source }) => {
    if (source === undefined) return [];
    const disk = "tasks" in plan ? undefined : plan.disks.find((one) => one.target === target);
    if (disk === undefined || "tasks" in plan) return [{ target, path: source.path }];
    const { fact, step } = readView(row);
    if (fact !== undefined) return [{ target, path: trueImage(disk, fact, leftBehind(records)).path }];
    if (step !== "take-snapshot") return [{ target, path: source.path }];
    const active = qemu.disks.find((one) => one.target === target)?.active;
    // An overlay that never became active is empty and shows its base.
    return [{ target, path: active ?? disk.overlay.image.path }];
  });
}

/** Disks that QEMU left on their source, as the last such record has it. */
function leftBehind(records: readonly OperationRecord[]): readonly string[] {
  const last = records.findLast(({ kind }) => kind === "left");
  return Array.isArray(last?.data) ? last.data.map(String) : [];
}

function describeAction(
  deps: RecoverDeps,
  entry: DomainEntry | undefined,
  row: OperationRow<AnyPlan>,
  records: readonly OperationRecord[],
  qemu: QemuSays,
): RecoveryAction {
  const kind = kindOfAction(deps, entry, row.id);
  if (kind === "end") return { kind, text: "end it: its domain is gone, and only its end is not recorded" };
  const alive = foresee(row, records, qemu);
  const dead = foresee(row, records, { ...qemu, process: "gone", monitor: "none" });
  if (kind === "recover") {
    const failure = entry?.busy?.failure;
    const why = failure === undefined ? "" : ` (it was tried: ${errorText(failure)})`;
    return { kind, text: `${sayForecast(qemu.monitor === "connected" ? alive : dead)}${why}` };
  }
  if (qemu.monitor === "silent") {
    const unstop =
      qemu.process === "stopped"
        ? `\`kill -CONT ${qemu.pid}\` lets it go on`
        : "its monitor may be in use by somebody else";
    return {
      kind,
      text: `wait for QEMU, which does not answer: ${unstop}. If it ends (\`kill -9 ${qemu.pid}\` loses nothing): ${sayForecast(dead)}`,
    };
  }
  return {
    kind,
    text: `wait: qmirrord is at it. Were it cut off now: ${sayForecast(qemu.monitor === "connected" ? alive : dead)}`,
  };
}

function sayForecast({ succeeds, text }: Forecast): string {
  return `${text}; the operation ${succeeds ? "succeeds" : "fails"}`;
}

function foresee(row: OperationRow<AnyPlan>, records: readonly OperationRecord[], qemu: QemuSays): Forecast {
  const { plan } = row;
  if ("tasks" in plan) {
    const last = records.findLast(
      ({ kind, data }) => (kind === "established" || kind === "retracted") && data === plan.decidedAt,
    );
    return foreseeTasks(plan, Number.parseInt(row.step, 10), last?.kind === "established");
  }
  const has = (kind: string, data?: string): boolean =>
    records.some((record) => record.kind === kind && (data === undefined || record.data === data));
  const known = { undoing: has("rollback"), left: has("left"), cloned: has("fact", "clone") };
  const view = readView(row);
  if (qemu.monitor !== "connected") return foreseeDead(plan, view, known);
  return foreseeAlive(plan, view, known, (disk) => isInStep(disk, qemu));
}

function isInStep({ target, overlay, mirror }: StoragePlan["disks"][number], { disks, jobs }: QemuSays): boolean {
  const job = jobs.find(({ id }) => id === mirror?.jobId);
  const active = disks.find((disk) => disk.target === target)?.active;
  return active === overlay.image.path && (job?.status === "ready" || job?.status === "pending");
}
