/**
 * Many domains migrate at once on one real daemon, and some of them meet a fault: QEMU is killed, the operation cancelled, the target
 * filled up. `node test/faults/many-domains.ts --domains 50 [--seed N]` prints what came of it, and fails where one disturbed another
 * or the daemon kept something.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { OperationView } from "../../src/api-types/index.ts";
import { QmirrorClient } from "../../src/client/client.ts";
import { openUnixTransport, type UnixTransport } from "../../src/client/unix-transport.ts";
import type { Held } from "./daemon-probe.ts";
import { FaultRig, type SmallDisk } from "./fault-rig.ts";

type Fate = "left alone" | "QEMU killed" | "cancelled" | "target filled";
const fates: readonly Fate[] = ["left alone", "QEMU killed", "left alone", "cancelled", "target filled"];

export interface Figures {
  readonly seed: number;
  readonly domains: number;
  readonly seconds: number;
  /** For each fate: how the operations ended. */
  readonly ends: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly before: Held & { readonly descriptors: number };
  readonly during: Held & { readonly descriptors: number };
  readonly after: Held & { readonly descriptors: number };
}

interface Victim {
  readonly name: string;
  readonly fate: Fate;
  readonly source: string;
  readonly to: string;
  readonly disk?: SmallDisk;
}

/** Copying takes about this long: time for faults. */
const copyMs = 1500;
const dataBytes = 1024 * 1024;
const atOnce = 8;

/** Rejects with the first thing that is not as it must be. Nothing is left in any case. */
export async function migrateMany(options: { domains: number; seed: number }): Promise<Figures> {
  const { domains, seed } = options;
  const random = seededRandom(seed);
  const directory = mkdtempSync(join(tmpdir(), "qmirror-many-"));
  const mounts = new FaultRig();
  const daemon = new Daemon(directory);
  const started = performance.now();
  try {
    await daemon.start();
    const template = join(directory, "template.qcow2");
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", template, "16M"]);
    execFileSync("qemu-io", ["-f", "qcow2", "-c", `write -q -P 7 0 ${dataBytes}`, template]);
    const make = async (index: number, fate: Fate): Promise<Victim> => {
      const name = `m${index}`;
      const source = join(directory, `${name}.qcow2`);
      copyFileSync(template, source);
      const disk = fate === "target filled" ? await mounts.smallDisk(4) : undefined;
      const to = disk?.directory("to") ?? join(directory, `to-${name}`);
      mkdirSync(to, { recursive: true });
      return { name, fate, source, to, ...(disk === undefined ? {} : { disk }) };
    };
    // One of each kind first: what a daemon loads once and keeps is not what is looked for.
    const ends: Record<string, Record<string, number>> = {};
    const round = async (victims: readonly Victim[]): Promise<Daemon["held"]> => {
      await inTurns(victims, (victim) => daemon.client.defineDomain(domainXml(victim)));
      await inTurns(victims, (victim) => daemon.client.startDomain(victim.name));
      const operations = await Promise.all(victims.map((victim) => strike(daemon, victim, random())));
      const during = await daemon.measure();
      for (const [index, victim] of victims.entries()) {
        await check(daemon, victim, operations[index], directory);
        const count = (ends[victim.fate] ??= {});
        const end = `${operations[index]?.state ?? ""} ${operations[index]?.error?.code ?? ""}`.trim();
        count[end] = (count[end] ?? 0) + 1;
      }
      await inTurns(victims, (victim) => remove(daemon, victim));
      return during;
    };
    await round(await inTurns([...fates.keys()], (index) => make(10_000 + index, fates[index] ?? "left alone")));
    for (const fate of Object.keys(ends)) delete ends[fate];
    const before = await daemon.measure();
    const victims = await inTurns([...Array(domains).keys()], (index) =>
      make(index, fates[index % fates.length] ?? "left alone"),
    );
    const during = await round(victims);
    const after = await daemon.measure();
    return { seed, domains, seconds: Math.round((performance.now() - started) / 1000), ends, before, during, after };
  } finally {
    await daemon.stop();
    await mounts.close();
    rmSync(directory, { recursive: true });
  }
}

/** Starts its migration, lets its fate happen, and waits for the end. */
async function strike({ client, pidOf }: Daemon, victim: Victim, share: number): Promise<OperationView> {
  const { name, fate, to, disk } = victim;
  const operation = await client.migrateStorage(name, { to, bytesPerS: Math.round((2 * dataBytes * 1000) / copyMs) });
  await delay(Math.round(share * copyMs * 0.6));
  if (fate === "QEMU killed") process.kill(await pidOf(name), "SIGKILL");
  else if (fate === "cancelled") await client.cancelOperation(operation.id).catch(() => undefined);
  else if (fate === "target filled") disk?.fill();
  let last: OperationView = operation;
  for await (last of client.watchOperation(operation.id));
  return last;
}

/** It ended as its fate says, its words are about it alone, and its data are where the domain says. */
async function check(
  daemon: Daemon,
  victim: Victim,
  view: OperationView | undefined,
  directory: string,
): Promise<void> {
  const { name, fate, source, to } = victim;
  assert.ok(view);
  const about = JSON.stringify(view);
  const expected: Record<Fate, readonly string[]> = {
    "left alone": ["succeeded"],
    // Past its decision an operation goes forward, whatever happens.
    "QEMU killed": ["failed QM_QEMU_GONE", "succeeded"],
    cancelled: ["cancelled QM_CANCELLED", "succeeded"],
    "target filled": ["failed QM_TARGET_FULL", "failed QM_PIVOT_REFUSED", "succeeded"],
  };
  const end = `${view.state} ${view.error?.code ?? ""}`.trim();
  assert.ok(expected[fate].includes(end), `${fate}: ${about}`);
  const others = [...about.matchAll(/\bto-m(\d+)\b|\bm(\d+)\.qcow2\b/g)].map(
    (match) => `m${match[1] ?? match[2] ?? ""}`,
  );
  assert.deepEqual([...new Set([...others, name])], [name], `${name} speaks of others: ${about}`);
  const truth = (view.result?.["truth"] as Record<string, string> | undefined)?.["vda"] ?? "";
  if (view.state === "succeeded") assert.ok(truth.startsWith(to), about);
  else {
    assert.ok(truth.startsWith(source), about);
    assert.deepEqual(
      readdirSync(to).filter((file) => file !== "stuffing"),
      [],
      about,
    );
  }
  const { state } = await daemon.client.getDomain(name);
  assert.equal(state, fate === "QEMU killed" ? "shut off" : "running", name);
  const said = execFileSync("qemu-io", ["-r", "-U", "-f", "qcow2", "-c", `read -P 7 0 ${dataBytes}`, truth], {
    encoding: "utf8",
  });
  assert.doesNotMatch(said, /fail/, `${truth} of ${directory}`);
}

async function remove({ client }: Daemon, { name, disk, fate }: Victim): Promise<void> {
  disk?.makeRoom();
  if (fate !== "QEMU killed") await client.destroyDomain(name);
  for (const snapshot of await client.listSnapshots(name)) {
    await client.deleteSnapshot(name, snapshot.name, { metadataOnly: true });
  }
  await client.undefineDomain(name);
}

class Daemon {
  readonly #directory: string;
  #child: ChildProcess | undefined;
  #lines: Interface | undefined;
  held: Figures["before"] = { heapBytes: 0, rssBytes: 0, descriptors: 0 };

  constructor(directory: string) {
    this.#directory = directory;
  }

  #transport: UnixTransport | undefined;

  get client(): QmirrorClient {
    this.#transport ??= openUnixTransport(join(this.#directory, "daemon.sock"));
    return new QmirrorClient(this.#transport.send);
  }

  readonly pidOf = async (name: string): Promise<number> => {
    const { uuid } = await this.client.getDomain(name);
    return Number(readFileSync(join(this.#directory, "run", "domains", uuid, "qemu.pid"), "utf8"));
  };

  async start(): Promise<void> {
    const probe = fileURLToPath(new URL("daemon-probe.ts", import.meta.url));
    const main = fileURLToPath(new URL("../../src/daemon/main.ts", import.meta.url));
    const at = (name: string): string => join(this.#directory, name);
    const paths = ["--state-dir", at("state"), "--runtime-dir", at("run"), "--socket", at("daemon.sock")];
    const child = spawn(process.execPath, ["--expose-gc", "--import", probe, main, ...paths, "--log-level", "warn"], {
      stdio: ["ignore", "pipe", "inherit", "ipc"],
    });
    this.#child = child;
    const [report] = (await once(child, "message")) as [{ ready?: boolean }];
    assert.equal(report.ready, true, JSON.stringify(report));
    assert.ok(child.stdout);
    this.#lines = createInterface(child.stdout);
  }

  async measure(): Promise<Figures["before"]> {
    assert.ok(this.#child?.pid !== undefined && this.#lines !== undefined);
    // What connections hold is not what is looked for.
    this.#transport?.close();
    this.#transport = undefined;
    await delay(200);
    const answer = once(this.#lines, "line");
    this.#child.kill("SIGUSR2");
    const held = JSON.parse(String((await answer)[0])) as Held;
    this.held = { ...held, descriptors: readdirSync(`/proc/${this.#child.pid}/fd`).length };
    return this.held;
  }

  /** Its QEMUs first: they outlive it. */
  async stop(): Promise<void> {
    if (this.#child === undefined || this.#child.exitCode !== null) return;
    const domains = await this.client.listDomains().catch(() => []);
    for (const { name, state } of domains) {
      if (state !== "shut off") await this.client.destroyDomain(name).catch(() => undefined);
    }
    this.#transport?.close();
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await exited;
  }
}

function domainXml({ name, source }: Victim): string {
  return `<domain type='qemu'><name>${name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
    <os><type arch='x86_64' machine='q35'>hvm</type></os><devices><disk type='file' device='disk'>
    <driver name='qemu' type='qcow2'/><source file='${source}'/><target dev='vda' bus='virtio'/></disk></devices></domain>`;
}

/** `work` of each, some at once, in the order of `items`. */
async function inTurns<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let first = 0; first < items.length; first += atOnce) {
    results.push(...(await Promise.all(items.slice(first, first + atOnce).map(work))));
  }
  return results;
}

/** Numbers from 0 to 1, the same for the same seed (Park and Miller's). */
function seededRandom(seed: number): () => number {
  let state = (seed % 2_147_483_646) + 1;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

/** What a daemon may hold more after many operations than before: the memory of the engine's compiled code still grows a little. */
export const heapGrowthBytes = 3 * 1024 * 1024;

export function assertReturned({ before, after }: Figures): void {
  assert.ok(after.descriptors <= before.descriptors, `${after.descriptors} descriptors, ${before.descriptors} before`);
  const grown = after.heapBytes - before.heapBytes;
  assert.ok(grown < heapGrowthBytes, `the heap has ${grown} bytes more`);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { domains: { type: "string", default: "50" }, seed: { type: "string", default: "1" } },
  });
  const figures = await migrateMany({ domains: Number(values.domains), seed: Number(values.seed) });
  process.stdout.write(`${JSON.stringify(figures, undefined, 2)}\n`);
  assertReturned(figures);
}
