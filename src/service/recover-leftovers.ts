/** What operations that have ended left behind. Only told: which of it may go is for people to say. */
import { existsSync } from "node:fs";
import type { DepartedDomain, RecoveryFinding } from "../api-types/index.ts";
import { readChain } from "../image/chain.ts";
import { newPaths, overlayPaths, type StoragePlan } from "../engine/steps/storage-plan.ts";
import type { OperationRow } from "../journal/operations.ts";
import type { Store } from "../journal/store.ts";
import { formatDomain } from "../model/domain-format.ts";
import type { DomainDefinition } from "../model/domain.ts";
import type { SnapshotEntry, DomainEntry, StoredMirrors, StoredRun } from "./domain-entry.ts";
import type { LifecycleDeps } from "./domain-lifecycle.ts";
import type { AnyPlan } from "./operations.ts";

type Deps = Pick<LifecycleDeps, "store" | "registry">;

/** As `truth.ts` writes it. */
const splitReason = "QEMU refused to finish the pivot";

/** Older ones are not looked at. */
const lookedAtOperations = 200;

export function listDeparted(store: Store): DepartedDomain[] {
  return store.domains.departed<StoredRun, StoredMirrors>().map(({ name, uuid, at, run, mirrors }) => ({
    name,
    uuid,
    endedAt: at,
    xml: formatDomain(run.definition),
    disks: run.definition.disks.flatMap(({ target, source }) =>
      source === undefined ? [] : [{ target, path: source.path }],
    ),
    mirrors: (mirrors?.plan.disks ?? [])
      .flatMap(({ mirror }) => mirror?.image.path ?? [])
      .filter((path) => existsSync(path)),
  }));
}

export async function findLeftovers(deps: Deps, entries: readonly DomainEntry[]): Promise<RecoveryFinding[]> {
  const findings = entries.flatMap((entry) =>
    deps.registry.snapshots(entry).flatMap((snapshot) => describeSnapshot(entry, snapshot)),
  );
  const used = await pathsInUse(deps);
  for (const entry of entries) {
    for (const row of deps.store.operations.list<AnyPlan>({ domain: entry.uuid }).slice(0, lookedAtOperations)) {
      const paths = leftFiles(deps.store, row).filter((path) => existsSync(path) && !used.has(path));
      if (paths.length === 0) continue;
      findings.push({
        what: "files",
        domain: entry.name,
        text: `${row.kind} ${row.id} ${row.state} and left files that no domain of qmirror uses`,
        paths,
        next: "look at them (`qemu-img info`), then remove them",
      });
    }
  }
  return findings;
}

function describeSnapshot(
  { name: domain }: DomainEntry,
  { name, deleting, mirrors }: SnapshotEntry,
): RecoveryFinding[] {
  const findings: RecoveryFinding[] = [];
  if (deleting) {
    const text = `deleting snapshot '${name}' was cut off: parts of its data may be gone`;
    findings.push({
      what: "deleting",
      domain,
      text,
      paths: [],
      next: `\`qmirror snapshot-delete ${domain} ${name}\` finishes it`,
    });
  }
  const ended = Object.entries(mirrors?.states ?? {}).filter(([, { state }]) => state === "broken" || state === "lost");
  if (mirrors === undefined || ended.length === 0) return findings;
  const targets = ended.map(([target]) => target);
  const disks = mirrors.plan.disks.filter(({ target }) => targets.includes(target));
  const reasons = ended.map(([target, { state, reason = "no reason is known" }]) => `${target} is ${state}: ${reason}`);
  // A pivot that QEMU refused for some disks keeps the plan of these alone.
  const split = ended.some(([, { reason }]) => reason === splitReason);
  const restart = `\`qmirror snapshot-mirror ${domain} ${name}\` starts them again`;
  const next = split
    ? `${restart}, then \`qmirror snapshot-delete ${domain} ${name} --mirror-pivot\` brings these disks to the others`
    : ended.some(([, { state }]) => state === "lost")
      ? `\`qmirror snapshot-delete ${domain} ${name} --mirror-abort\` gives them up; the snapshot stays`
      : `${restart}; \`qmirror snapshot-delete ${domain} ${name} --mirror-abort\` gives them up`;
  findings.push({
    what: split ? "split" : "mirrors",
    domain,
    text: `${split ? "disks are on two sides" : "mirrors have ended"} (snapshot '${name}'): ${reasons.join("; ")}`,
    paths: disks.flatMap(({ mirror }) => mirror?.image.path ?? []),
    next,
  });
  return findings;
}

/** Files of an operation that ended without doing what it was asked to, and what QEMU's refusals made it keep. */
function leftFiles(store: Store, row: OperationRow<AnyPlan>): string[] {
  const { plan, state } = row;
  const records = store.operations.records(row.id);
  const kept = records.some(({ kind }) => kind === "left" || kind === "not-merged");
  if (state === "running" || (state === "succeeded" && !kept)) return [];
  const strangers = new Set(records.filter(({ kind }) => kind === "not-ours").map(({ data }) => data));
  const made = "tasks" in plan ? taskFiles(plan.tasks) : planFiles(plan, row, new Set(records.flatMap(copyOf)));
  return made.filter((path) => !strangers.has(path));
}

function copyOf({ kind, data }: { readonly kind: string; readonly data: unknown }): string[] {
  return kind === "copying" ? [String(data)] : [];
}

function planFiles(plan: StoragePlan, { decision }: OperationRow<AnyPlan>, copying: ReadonlySet<string>): string[] {
  const copies = plan.copies.map(({ to }) => to.path).filter((path) => copying.has(path));
  if (decision === "clone") return overlayPaths(plan);
  const source = decision === "pivot" || decision === "merged" ? plan.removeAfterPivot : [];
  return [...newPaths(plan), ...copies, ...source];
}

function taskFiles(tasks: Extract<AnyPlan, { tasks: unknown }>["tasks"]): string[] {
  return tasks.flatMap((task) => {
    if (task.task === "create-overlay") return task.reuse ? [] : [task.image.path];
    return task.task === "copy-image" ? [task.to.path] : [];
  });
}

/** Every image that a domain, a snapshot or a departed domain stands on, by their headers too. */
async function pathsInUse({ registry, store }: Deps): Promise<Set<string>> {
  const used = new Set<string>();
  const departed = store.domains.departed<StoredRun, StoredMirrors>().map(({ run }) => run.definition);
  const definitions: DomainDefinition[] = [...departed];
  for (const entry of registry.list()) {
    definitions.push(...[entry.run?.definition, entry.definition].filter((definition) => definition !== undefined));
    for (const { document, mirrors } of registry.snapshots(entry)) {
      for (const { source, base } of document.disks) [source, base].forEach((image) => used.add(image?.path ?? ""));
      used.add(document.memory?.file ?? "");
      for (const path of mirrors === undefined ? [] : allPaths(mirrors.plan)) used.add(path);
    }
    for (const { path } of store.layers.list(entry.uuid)) used.add(path);
    for (const { target } of entry.run?.copies ?? []) used.add(target.image.path);
  }
  const disks = definitions.flatMap((definition) => definition.disks);
  await Promise.all(
    disks.map(async ({ target, source, statedBacking: stated }) => {
      if (source === undefined) return;
      used.add(source.path);
      const chain = await readChain(source, { disk: target, stated }).catch(() => []);
      for (const image of chain) used.add(image.path);
    }),
  );
  return used;
}

function allPaths(plan: StoragePlan): string[] {
  return [...plan.files.map(({ path }) => path), ...plan.copies.map(({ to }) => to.path)];
}
