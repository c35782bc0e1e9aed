/**
 * A daemon that dies. Takes one quiesced snapshot over a state directory and ends itself with SIGKILL at a named point of the engine.
 * Argument: JSON of `QuiesceAct`. Exits with 0 when the operation came to its end.
 */
import { compose } from "../../src/daemon/compose.ts";
import { silentLogger } from "./witness-rig.ts";

export interface QuiesceAct {
  readonly stateDir: string;
  readonly runtimeDir: string;
  readonly snapshot: string;
  /** Absent: it is killed by whoever started it, or comes to the end. */
  readonly dieAt?: string;
}

const { snapshot, dieAt, ...dirs } = JSON.parse(process.argv[2] ?? "{}") as QuiesceAct;

const { facade } = await compose({ ...dirs, fault }, silentLogger);
await facade.createSnapshot("witness", { name: snapshot, diskOnly: true, quiesce: true });
process.exit(0);

function fault(point: string): Promise<void> {
  if (point === dieAt) process.kill(process.pid, "SIGKILL");
  return Promise.resolve();
}
