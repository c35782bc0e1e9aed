/** `virsh save` and `restore`: a domain's memory kept in a file while it does not run. The disks are not in it. */
import type { RestoreBody, SaveBody } from "../api-types/index.ts";
import { QmError } from "../base/errors.ts";
import type { DomainDefinition } from "../model/domain.ts";
import { formatDomain } from "../model/domain-format.ts";
import { parseDomain } from "../model/domain-parse.ts";
import { checkPath } from "../model/names.ts";
import { compareHardware } from "../qemu/compare-hardware.ts";
import { readMemoryFile, type StateAfterLoad } from "../qemu/memory-file.ts";
import { requireMonitor, type DomainEntry } from "./domain-entry.ts";
import { entryFor, type LifecycleDeps } from "./domain-lifecycle.ts";
import { assertNotBusy, assertNotCopied, assertNotMirrored, withDomain } from "./guards.ts";
import { launch } from "./machine.ts";
import { newOperationId } from "./operation-id.ts";
import type { RunningOperation } from "./running-operation.ts";

/** What a save's plan needs. */
export interface SaveInputs {
  readonly path: string;
  /** The `<domain>` for the file. */
  readonly xml: string;
  readonly wasRunning: boolean;
  readonly afterwards: StateAfterLoad;
}

/**
 * Checks a request to save; nothing is changed. Errors: `QM_DOMAIN_NOT_RUNNING`, `QM_DOMAIN_BUSY`, `QM_DOMAIN_MIRRORED`, `QM_INVALID`,
 * `QM_UNSUPPORTED` (attached: its hardware is not known), those of `parseDomain`, and `QM_MEMORY_FILE` when `xml` is of other
 * hardware.
 */
export async function prepareSave(deps: LifecycleDeps, entry: DomainEntry, request: SaveBody): Promise<SaveInputs> {
  const monitor = requireMonitor(entry);
  const definition = entry.run?.definition;
  const path = checkPath(request.file, "file");
  assertNotBusy(entry);
  assertNotMirrored(deps.registry, entry, "saving its memory");
  assertNotCopied(entry, "saving its memory");
  if (definition === undefined || entry.run?.adopted === true) {
    const detail = ": it was attached, and what it was started with is not known";
    throw new QmError("QM_UNSUPPORTED", { what: `saving domain '${entry.name}'`, detail });
  }
  const wanted = request.xml === undefined ? definition : parseDomain(request.xml);
  assertFits(path, definition, wanted);
  const wasRunning = (await monitor.execute("query-status")).running;
  const afterwards = chooseState(request, wasRunning ? "running" : "paused");
  return { path, xml: formatDomain(wanted), wasRunning, afterwards };
}

/** The guest stands still from the saved instant on, and its QEMU is ended once the file is complete. Undone when that fails. */
export async function startSave(deps: LifecycleDeps, entry: DomainEntry, request: SaveBody): Promise<RunningOperation> {
  const memory = await prepareSave(deps, entry, request);
  return deps.operations.start(entry, "save", {
    family: "tasks",
    id: newOperationId(),
    domain: { uuid: entry.uuid, name: entry.name },
    tasks: [
      { task: "save-memory", ...memory, live: false },
      { task: "establish", change: {} },
      { task: "stop-machine" },
    ],
    decidedAt: 1,
    stoppable: false,
    options: { bytesPerS: 0 },
    result: { file: memory.path },
  });
}

/**
 * Starts the domain of a memory file where it was saved. The file stays. What was written to the disks since the save the guest does
 * not know of: see docs/internals/memory.md. A domain that is not known is transient.
 *
 * Errors: those of `readMemoryFile`; `QM_MEMORY_FILE` (hardware, name or uuid of `xml` differ), `QM_DOMAIN_EXISTS` (its name or uuid
 * is another domain's), `QM_DOMAIN_RUNNING`, `QM_DOMAIN_BUSY`, `QM_DOMAIN_MIRRORED`, `QM_QEMU_START` with QEMU's words. The domain is
 * as it was then.
 */
export async function restoreDomain(deps: LifecycleDeps, request: RestoreBody): Promise<DomainEntry> {
  const memoryFile = checkPath(request.file, "file");
  const header = await readMemoryFile(memoryFile);
  const saved = parseDomain(header.xml);
  const definition = request.xml === undefined ? saved : parseDomain(request.xml);
  assertFits(memoryFile, saved, definition);
  const paused = chooseState(request, header.state) === "paused";
  const entry = entryFor(deps.registry, definition);
  if (entry.run !== undefined) throw new QmError("QM_DOMAIN_RUNNING", { domain: entry.name });
  assertNotMirrored(deps.registry, entry, "restoring its memory");
  await withDomain(entry, "it is being restored", () =>
    launch(deps, entry, definition, { paused, memoryFile, forget: true }),
  );
  return entry;
}

/** `QM_MEMORY_FILE` naming everything that differs. */
export function assertFits(path: string, saved: DomainDefinition, wanted: DomainDefinition): void {
  const differences = [
    ...(["name", "uuid"] as const)
      .filter((part) => saved[part] !== wanted[part])
      .map((part) => `${part}: ${saved[part]} was saved, ${wanted[part]} is there now`),
    ...compareHardware(saved, wanted),
  ];
  if (differences.length > 0) {
    throw new QmError("QM_MEMORY_FILE", { path, reason: differences.join("; "), differences });
  }
}

function chooseState(request: { running?: boolean; paused?: boolean }, otherwise: StateAfterLoad): StateAfterLoad {
  const { running = false, paused = false } = request;
  if (running && paused) throw new QmError("QM_INVALID", { reason: "'running' and 'paused' exclude each other" });
  return running ? "running" : paused ? "paused" : otherwise;
}
