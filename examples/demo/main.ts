/**
 * `npm run demo`: moves the disks of a running guest to another directory while it writes, and shows that nothing was lost.
 * With `--json` the words go to stderr, and stdout gets one line of JSON. Exit code 0: every promise held.
 */
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { followSerial } from "../../src/testing/witness/serial-log.ts";
import { makeWitnessDomain } from "../../src/testing/witness/witness-domain.ts";
import { followMove } from "./follow-move.ts";
import { proveMove } from "./proof.ts";
import { Screen } from "./screen.ts";
import { Stage } from "./stage.ts";

const disks = 3;
const sizeBytes = 96 * 1024 * 1024;
const slots = 16_384;
/** Slow enough to be watched. */
const bytesPerS = 64 * 1024 * 1024;
const bootTimeoutMs = 120_000;
const cacheDir = fileURLToPath(new URL("../../.cache", import.meta.url));

const { values: options } = parseArgs({ options: { json: { type: "boolean", default: false } } });
const out = options.json ? process.stderr : process.stdout;
const screen = new Screen(out);
const interrupted = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(name, () => {
    interrupted.abort();
    screen.say("interrupted: ending the guest and the daemon");
  });
}
// Nobody reads on (`npm run demo | head`): the guest and the daemon must not stay for that
out.on("error", () => interrupted.abort());

const stage = await Stage.create();
try {
  process.exitCode = (await play(interrupted.signal)) ? 0 : 1;
} catch (error) {
  if (!interrupted.signal.aborted) throw error;
  process.exitCode = 130;
} finally {
  await stage.close();
}

/** Resolves to whether every promise held. */
async function play(signal: AbortSignal): Promise<boolean> {
  const { client, directory } = stage;
  const startedMs = performance.now();
  const target = stage.path("target");
  await mkdir(target);

  screen.scene(
    "A guest that keeps count",
    `It writes numbered records to its ${disks} disks in turn, and reports each one once it is durable.`,
    "So every single write can be looked for afterwards.",
  );
  const run = BigInt(Date.now());
  const witness = await makeWitnessDomain({ name: "witness", directory, cacheDir, disks, sizeBytes, slots, run });
  signal.throwIfAborted();
  screen.say(`daemon: running, pid ${await stage.startDaemon(signal)}`);
  await client.createDomain(witness.xml);
  const bootSignal = AbortSignal.any([signal, AbortSignal.timeout(bootTimeoutMs)]);
  const before = await followSerial(witness.serial, 100 * disks, bootSignal);
  screen.say(`guest:  booted and writing, ${before.writes.length} writes so far`);
  screen.chains(await client.domainDisks("witness"), directory);

  screen.scene(
    "Move all its disks while it writes",
    "Slowed down to be watched. The source is kept, as evidence for the proof.",
  );
  screen.command(`qmirror migrate-storage witness --to ${target} --verify --keep-source --bandwidth 64`);
  const request = { to: target, verify: true, keepSource: true, bytesPerS };
  const operation = await client.migrateStorage("witness", request);
  const move = await followMove(operation, { client, screen, serial: witness.serial, disks, signal });
  const { state, error } = move.final;
  if (state !== "succeeded") throw new Error(`the migration ${state}: ${error?.message ?? "no reason given"}`);
  const afterDisks = await client.domainDisks("witness");
  screen.chains(afterDisks, directory);

  screen.scene("Proof", "The guest is ended, and every block of every image is read.");
  await client.destroyDomain("witness");
  const proof = await proveMove({ witness, run, slots, target, disks: afterDisks, signal });
  const { acknowledgedWrites, lostWrites, damagedBlocks, instantConsistent, allOnTarget } = proof;
  const [stallMs, longestMs] = [move.pivotStallMs.toFixed(1), move.longestWriteMs.toFixed(1)];
  screen.verdict(lostWrites === 0, `${acknowledgedWrites} writes acknowledged, ${lostWrites} of them lost`);
  screen.verdict(damagedBlocks === 0, `${damagedBlocks} other blocks changed`);
  screen.verdict(allOnTarget, `every image of all ${disks} disks is in the target directory`);
  screen.verdict(instantConsistent, "the snapshot shows all disks at one instant, and so does the target");
  screen.say(`  longest guest write during the pivot ${stallMs} ms, during the whole migration ${longestMs} ms`);

  const summary = {
    disks,
    ...proof,
    pivotStallMs: Number(stallMs),
    longestWriteMs: Number(longestMs),
    migrationMs: Math.round(move.elapsedMs),
    elapsedMs: Math.round(performance.now() - startedMs),
  };
  if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
  return lostWrites === 0 && damagedBlocks === 0 && instantConsistent && allOnTarget;
}
