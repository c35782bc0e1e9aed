/** What many snapshots cost: listing them, their documents, and the data that is moved when one is deleted. */
import { execFile } from "node:child_process";
import { mkdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { QmirrorClient } from "../src/client/client.ts";
import { openUnixTransport } from "../src/client/unix-transport.ts";
import { stateFileName } from "../src/daemon/compose.ts";
import { openStore } from "../src/journal/store.ts";
import { parseDomain } from "../src/model/domain-parse.ts";
import type { DomainDefinition } from "../src/model/domain.ts";
import { formatSnapshot } from "../src/model/snapshot-format.ts";
import { parseSnapshotRedefinition } from "../src/model/snapshot-redefine.ts";
import type { Snapshot } from "../src/model/snapshot.ts";
import { DomainRegistry } from "../src/service/domain-registry.ts";
import { time } from "./measure.ts";
import { startDaemon, stopDaemon } from "./ours.ts";
import { median } from "./statistics.ts";

const run = promisify(execFile);
const mebibyte = 1024 ** 2;

export interface SnapshotFigures {
  readonly listed: number;
  /** Median, from the client's request until it has them all, parents first. */
  readonly listMs: number;
  /** The daemon's most resident memory by then. */
  readonly daemonMib: number;
  /** Medians, of a document with 16 disks and the domain. */
  readonly parseMs: number;
  readonly formatMs: number;
  readonly deletions: readonly Deletion[];
}

export interface Deletion {
  readonly baseMib: number;
  readonly overlayMib: number;
  /** By how much the image that stays has grown. */
  readonly movedMib: number;
}

export async function measureSnapshots(directory: string, runs: number, signal: AbortSignal): Promise<SnapshotFigures> {
  await mkdir(directory);
  const listing = await measureListing(join(directory, "listing"), 10_000, runs, signal);
  const documents = measureDocuments(500);
  const deletions: Deletion[] = [];
  for (const [baseMib, overlayMib] of [
    [64, 8],
    [8, 64],
  ] as const) {
    signal.throwIfAborted();
    deletions.push(await measureDeletion(join(directory, `delete-${baseMib}`), baseMib, overlayMib));
  }
  await rm(directory, { recursive: true });
  return { ...listing, ...documents, deletions };
}

async function measureListing(
  directory: string,
  count: number,
  runs: number,
  signal: AbortSignal,
): Promise<Pick<SnapshotFigures, "listed" | "listMs" | "daemonMib">> {
  await mkdir(join(directory, "state"), { recursive: true });
  const definition = makeDomain(2);
  const store = openStore(join(directory, "state", stateFileName));
  const registry = new DomainRegistry(store);
  const entry = { uuid: definition.uuid, name: definition.name, definition, paused: false };
  store.atomically(() => {
    registry.save(entry);
    for (let index = 0; index < count; index++) {
      const document = makeSnapshot(definition, index);
      // Not through the registry: it looks for the name among all that it has.
      const row = { domain: entry.uuid, name: document.name, current: index === count - 1, deleting: false, document };
      store.snapshots.put(row);
      store.snapshots.putConfig(entry.uuid, document.name, { domain: definition });
    }
  });
  store.close();
  const daemon = await startDaemon(directory);
  const transport = openUnixTransport(join(directory, "run", "qmirror.sock"));
  const client = new QmirrorClient(transport.send);
  try {
    const samples: number[] = [];
    let listed = 0;
    for (let index = 0; index < runs + 1; index++) {
      signal.throwIfAborted();
      const ms = await time(async () => {
        listed = (await client.listSnapshots(definition.name, { topological: true })).length;
      });
      // The first one reads them from the state file: counted too, for there may be no second.
      samples.push(ms);
    }
    const status = await readFile(`/proc/${daemon.pid ?? 0}/status`, "utf8");
    const peakKib = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? NaN);
    return { listed, listMs: median(samples), daemonMib: peakKib / 1024 };
  } finally {
    transport.close();
    await stopDaemon(daemon);
  }
}

function measureDocuments(rounds: number): Pick<SnapshotFigures, "parseMs" | "formatMs"> {
  const domain = makeDomain(16);
  const snapshot = makeSnapshot(domain, 1);
  const xml = formatSnapshot(snapshot, { config: { domain } });
  const measure = (work: () => unknown): number =>
    median(
      Array.from({ length: rounds }, () => {
        const start = performance.now();
        work();
        return performance.now() - start;
      }),
    );
  return {
    parseMs: measure(() => parseSnapshotRedefinition(xml, domain)),
    formatMs: measure(() => formatSnapshot(snapshot, { config: { domain } })),
  };
}

/** An inactive domain of one disk with one snapshot; the two layers have nothing in the same place. */
async function measureDeletion(directory: string, baseMib: number, overlayMib: number): Promise<Deletion> {
  await mkdir(directory);
  const image = join(directory, "disk.qcow2");
  const write = (path: string, offsetMib: number, sizeMib: number) =>
    run("qemu-io", ["-f", "qcow2", "-c", `write -q -P 7 ${offsetMib}M ${sizeMib}M`, path]);
  await run("qemu-img", ["create", "-q", "-f", "qcow2", image, String((baseMib + overlayMib) * mebibyte)]);
  await write(image, 0, baseMib);
  const daemon = await startDaemon(directory);
  const transport = openUnixTransport(join(directory, "run", "qmirror.sock"));
  const client = new QmirrorClient(transport.send);
  const activeImage = async (): Promise<string> => (await client.domainDisks("bench"))[0]?.chain[0]?.path ?? "";
  try {
    await client.defineDomain(domainXml([image]));
    await client.createSnapshot("bench", { name: "s1", diskspecs: ["vda,snapshot=external"] });
    const overlay = await activeImage();
    await write(overlay, baseMib, overlayMib);
    const before = new Map([
      [image, await allocatedMib(image)],
      [overlay, await allocatedMib(overlay)],
    ]);
    await client.deleteSnapshot("bench", "s1", {});
    const left = await activeImage();
    return { baseMib, overlayMib, movedMib: (await allocatedMib(left)) - (before.get(left) ?? 0) };
  } finally {
    transport.close();
    await stopDaemon(daemon);
  }
}

async function allocatedMib(path: string): Promise<number> {
  return ((await stat(path)).blocks * 512) / mebibyte;
}

function makeDomain(disks: number): DomainDefinition {
  return parseDomain(domainXml(Array.from({ length: disks }, (_, index) => `/images/disk-${index}.qcow2`)));
}

function domainXml(images: readonly string[]): string {
  const disks = images.map(
    (path, index) =>
      `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${path}'/>` +
      `<target dev='vd${String.fromCharCode(97 + index)}' bus='virtio'/></disk>`,
  );
  return (
    `<domain type='qemu'><name>bench</name><uuid>00000000-0000-4000-8000-00000000be9c</uuid>` +
    `<memory unit='MiB'>32</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os>` +
    `<devices>${disks.join("")}</devices></domain>`
  );
}

/** The tree's shape: every snapshot has up to three children. */
function makeSnapshot({ name: domainName, uuid: domainUuid, disks }: DomainDefinition, index: number): Snapshot {
  const name = `snapshot-${index}`;
  return {
    name,
    ...(index === 0 ? {} : { parent: `snapshot-${Math.floor((index - 1) / 3)}` }),
    creationTime: 1_700_000_000 + index,
    state: "shutoff",
    domainName,
    domainUuid,
    disks: disks.map(({ target }) => ({
      target,
      snapshot: "external",
      source: { type: "file", path: `/images/${target}.${name}`, format: "qcow2" },
      base: { type: "file", path: `/images/${target}.qcow2`, format: "qcow2" },
    })),
  };
}
