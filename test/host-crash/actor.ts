/**
 * The daemon on a host whose power fails. Boots the witness guest, prepares, says `armed` on its standard output, and does one
 * operation; at the chosen point the file system is shut down and this process is gone. Argument: JSON of `Act`.
 */
import { appendFileSync, writeSync } from "node:fs";
import { compose } from "../../src/daemon/compose.ts";
import { followSerial, readSerialLog } from "../../src/testing/witness/serial-log.ts";
import { bootLimitMs, silentLogger } from "../live/witness-rig.ts";
import { failPower } from "./crash-disk.ts";
import { verbOf, type Stage, type VerbName } from "./verbs.ts";

export interface Act {
  readonly stateDir: string;
  readonly runtimeDir: string;
  readonly mountPoints: readonly string[];
  readonly verb: VerbName;
  /** Where the domain's images are. */
  readonly source: string;
  readonly target: string;
  readonly disks: readonly string[];
  readonly xml: string;
  readonly serial: string;
  /** One line of JSON for each `Note`. */
  readonly notes: string;
  /** The n-th time at a point of this name, or the n-th point of any name; absent: whoever started this fails the power. */
  readonly die?: { readonly point?: string; readonly nth: number };
}

export type Note =
  | { readonly snapshot: string; readonly acknowledged: readonly (readonly [disk: number, sequence: number])[] }
  | { readonly point: string };

const act = JSON.parse(process.argv[2] ?? "{}") as Act;
let armed = false;
let passed = 0;

const { facade } = await compose({ ...act, fault }, silentLogger);
const verb = verbOf(act.verb);
const stage: Stage = {
  facade,
  target: act.target,
  disks: act.disks,
  async awaitWrites(count) {
    const { writes } = await readSerialLog(act.serial);
    await followSerial(act.serial, writes.length + count, AbortSignal.timeout(bootLimitMs));
  },
  async note(snapshot) {
    const { acknowledged } = await readSerialLog(act.serial);
    take({ snapshot, acknowledged: [...acknowledged] });
  },
};
await facade.defineDomain(act.xml);
await facade.startDomain("witness");
await followSerial(act.serial, 20, AbortSignal.timeout(bootLimitMs));
await verb.prepare?.(stage);
await stage.note("");
armed = true;
writeSync(1, "armed\n");
try {
  await verb.act(stage);
} catch (error) {
  // What the power failure itself makes fail is no news; anything else is.
  writeSync(2, `${act.verb}: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
endHere("the end");

function fault(point: string): Promise<void> {
  if (!armed || act.die === undefined) return Promise.resolve();
  if (act.die.point === undefined || act.die.point === point) passed++;
  if (passed === act.die.nth) endHere(point);
  return Promise.resolve();
}

function endHere(point: string): void {
  take({ point });
  failPower(act.mountPoints);
  process.kill(process.pid, "SIGKILL");
}

function take(note: Note): void {
  appendFileSync(act.notes, `${JSON.stringify(note)}\n`);
}
