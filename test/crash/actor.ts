/**
 * A daemon that dies. Does one operation over a state directory and ends itself with SIGKILL at a named point of the engine.
 * Argument: JSON of `Act`. Exits with 0 when the operation ended before the point was reached.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { compose } from "../../src/daemon/compose.ts";
import { silentLogger } from "../live/witness-rig.ts";

export interface Act {
  readonly stateDir: string;
  readonly runtimeDir: string;
  readonly verb: "migrate" | "clone" | "recover";
  readonly to: string;
  /** Where to die; absent: nowhere. */
  readonly dieAt?: string;
  /** Where to fail, so that the operation is rolled back. */
  readonly failAt?: string;
  /** Take QEMU along. */
  readonly withQemu: boolean;
}

const act = JSON.parse(process.argv[2] ?? "{}") as Act;

const { facade } = await compose({ ...act, fault }, silentLogger);
const operation =
  act.verb === "recover"
    ? (await facade.listOperations({ running: true }))[0]
    : act.verb === "clone"
      ? await facade.cloneStorage("witness", { to: act.to })
      : await facade.migrateStorage("witness", { to: act.to });
if (operation !== undefined) await facade.waitOperation(operation.id, AbortSignal.timeout(60_000));
process.exit(0);

function fault(point: string): Promise<void> {
  if (point === act.dieAt) {
    if (act.withQemu) killQemu();
    process.kill(process.pid, "SIGKILL");
  }
  return point === act.failAt ? Promise.reject(new Error(`made to fail at ${point}`)) : Promise.resolve();
}

function killQemu(): void {
  const domains = join(act.runtimeDir, "domains");
  for (const uuid of readdirSync(domains)) {
    process.kill(Number(readFileSync(join(domains, uuid, "qemu.pid"), "utf8")), "SIGKILL");
  }
}
