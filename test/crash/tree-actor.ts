/**
 * A daemon that takes, goes back to or deletes a snapshot, or saves, and dies. Argument: JSON of `TreeAct`. One that lives to the end
 * prints the points that its operation came by, one a line, and exits with 0.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { SnapshotCreateBody, SnapshotDeleteBody, SnapshotRevertBody } from "../../src/api-types/index.ts";
import { compose } from "../../src/daemon/compose.ts";
import { identifyByPidFile } from "../../src/qemu/identity.ts";
import { silentLogger } from "../live/witness-rig.ts";

export type TreeRequest =
  | { readonly verb: "create"; readonly body: SnapshotCreateBody & { readonly name: string } }
  | { readonly verb: "revert"; readonly snapshot: string; readonly body: SnapshotRevertBody }
  | { readonly verb: "delete"; readonly snapshot: string; readonly body: SnapshotDeleteBody }
  | { readonly verb: "save"; readonly file: string };

export interface TreeAct {
  readonly stateDir: string;
  readonly runtimeDir: string;
  readonly domain: string;
  /** Start the domain first. */
  readonly start: boolean;
  readonly request: TreeRequest;
  /** Where to die: a point and which time it comes, `after remove-file #2`; absent: nowhere. */
  readonly dieAt?: string;
  /** Where the operation is made to fail. */
  readonly failAt?: string;
  /** Take QEMU along. */
  readonly withQemu: boolean;
  /** From the point `dieAt` on the operation is this slow, and dies that much later. */
  readonly slowly?: { readonly bytesPerS: number; readonly afterMs: number };
}

const act = JSON.parse(process.argv[2] ?? "{}") as TreeAct;
const { domain, request, dieAt, failAt, slowly } = act;
const passed: string[] = [];

const { facade } = await compose({ ...act, fault }, silentLogger);
if (act.start) await facade.startDomain(domain);
try {
  if (request.verb === "create") await facade.createSnapshot(domain, request.body);
  else if (request.verb === "revert") await facade.revertSnapshot(domain, request.snapshot, request.body);
  else if (request.verb === "delete") await facade.deleteSnapshot(domain, request.snapshot, request.body);
  else await facade.saveDomain(domain, { file: request.file });
} catch (error) {
  if (failAt === undefined) throw error;
}
process.stdout.write(passed.join("\n"), () => process.exit(0));

async function fault(name: string): Promise<void> {
  const point = `${name} #${passed.filter((one) => one.startsWith(`${name} #`)).length + 1}`;
  passed.push(point);
  if (point === dieAt) {
    if (slowly === undefined) await die();
    else await slowDown(slowly);
  }
  if (point === failAt) throw new Error(`made to fail at ${point}`);
}

async function slowDown({ bytesPerS, afterMs }: NonNullable<TreeAct["slowly"]>): Promise<void> {
  const [operation] = await facade.listOperations({ running: true });
  if (operation !== undefined) await facade.setSpeed(operation.id, bytesPerS);
  setTimeout(() => void die(), afterMs);
}

async function die(): Promise<void> {
  if (act.withQemu) await killQemu();
  process.kill(process.pid, "SIGKILL");
}

async function killQemu(): Promise<void> {
  const domains = join(act.runtimeDir, "domains");
  for (const uuid of readdirSync(domains)) {
    const qemu = await identifyByPidFile({ pidFile: join(domains, uuid, "qemu.pid"), qmpSocket: "" }, uuid);
    if (qemu !== undefined) process.kill(qemu.pid, "SIGKILL");
  }
}
