/**
 * The floor: the QMP commands that qmirror's `blockdev` dialect sends, in its order and with its pipelining, sent by a bare
 * script. No journal, no checks, no undo: what is above it is the price of those.
 */
import { open } from "node:fs/promises";
import { join } from "node:path";
import { parseDomain } from "../src/model/domain-parse.ts";
import { buildCommandLine, type RuntimePaths } from "../src/qemu/command-line.ts";
import type { QemuIdentity } from "../src/qemu/identity.ts";
import { nameNodes } from "../src/qemu/node-names.ts";
import { stopQemu } from "../src/qemu/process.ts";
import { startQemu } from "../src/qemu/start.ts";
import { BareQmp } from "./bare-qmp.ts";
import type { Contender, Guest, GuestDisk } from "./contender.ts";

interface Running {
  readonly identity: QemuIdentity;
  readonly qmp: BareQmp;
}

const cache = { direct: true, "no-flush": false };

/** Boots with the command line that qmirror would use. `directory` gets QEMU's sockets and logs. */
export function openFloor(directory: string, sizeBytes: number): Contender {
  const running = new Map<string, Running>();
  const qmpOf = (guest: Guest): BareQmp => {
    const found = running.get(guest.name);
    if (found === undefined) throw new Error(`guest ${guest.name} does not run`);
    return found.qmp;
  };
  const stop = async (name: string): Promise<void> => {
    const found = running.get(name);
    running.delete(name);
    await found?.qmp.close();
    if (found !== undefined) await stopQemu(found.identity, { force: true });
  };
  return {
    name: "floor",
    async boot(guest) {
      const def = parseDomain(guest.xml);
      const paths = runtimePaths(join(directory, guest.name), guest);
      const identity = await startQemu({ def, commandLine: buildCommandLine(def, paths), paths });
      try {
        running.set(guest.name, { identity, qmp: await BareQmp.connect(paths.qmpSocket) });
      } catch (error) {
        await stopQemu(identity, { force: true });
        throw error;
      }
    },
    create: (guest) => createMirrored(qmpOf(guest), guest.disks, sizeBytes),
    pivot: (guest) => pivot(qmpOf(guest), guest.disks),
    destroy: (guest) => stop(guest.name),
    close: async () => void (await Promise.all([...running.keys()].map(stop))),
  };
}

async function createMirrored(qmp: BareQmp, disks: readonly GuestDisk[], sizeBytes: number): Promise<void> {
  const images = disks.flatMap((disk) => [
    { node: overlayNode(disk), path: disk.overlay, base: disk.base },
    { node: mirrorNode(disk), path: disk.mirror, base: disk.base },
  ]);
  await Promise.all(images.map(async ({ path }) => (await open(path, "wx")).close()));

  const jobs = images.map(({ node }) => `create-${node}`);
  await Promise.all([
    qmp.jobsReach(jobs, "concluded"),
    ...images.flatMap(({ node, path, base }) => [
      qmp.send("blockdev-add", fileOptions(node, path)),
      qmp.send("blockdev-create", {
        "job-id": `create-${node}`,
        options: {
          driver: "qcow2",
          file: `${node}-f`,
          size: sizeBytes,
          "backing-file": base,
          "backing-fmt": "qcow2",
        },
      }),
    ]),
  ]);
  await Promise.all([
    ...jobs.map((id) => qmp.send("job-dismiss", { id })),
    ...disks.map((disk) => qmp.send("blockdev-add", formatOptions(overlayNode(disk), null))),
  ]);
  await qmp.send("transaction", {
    actions: disks.map((disk) => ({
      type: "blockdev-snapshot",
      data: { node: baseNode(disk), overlay: overlayNode(disk) },
    })),
  });
  await Promise.all([
    qmp.jobsReach(disks.map(mirrorJob), "ready"),
    ...disks.flatMap((disk) => [
      qmp.send("blockdev-add", formatOptions(mirrorNode(disk), baseNode(disk))),
      qmp.send("blockdev-mirror", {
        "job-id": mirrorJob(disk),
        device: overlayNode(disk),
        target: mirrorNode(disk),
        sync: "top",
        "copy-mode": "write-blocking",
        "on-source-error": "report",
        "on-target-error": "report",
        "auto-finalize": false,
        "auto-dismiss": false,
      }),
    ]),
  ]);
}

async function pivot(qmp: BareQmp, disks: readonly GuestDisk[]): Promise<void> {
  const jobs = disks.map(mirrorJob);
  await Promise.all([qmp.jobsReach(jobs, "pending"), ...jobs.map((id) => qmp.send("job-complete", { id }))]);
  await Promise.all([qmp.jobsReach(jobs, "concluded"), ...jobs.map((id) => qmp.send("job-finalize", { id }))]);
  const blocks = (await qmp.send("query-block")) as { inserted?: { "node-name"?: string } }[];
  const roots = new Set(blocks.map(({ inserted }) => inserted?.["node-name"]));
  if (!disks.every((disk) => roots.has(mirrorNode(disk)))) throw new Error("a disk is not on its mirror");
  await Promise.all([
    ...jobs.map((id) => qmp.send("job-dismiss", { id })),
    ...disks
      .flatMap((disk) => [overlayNode(disk), `${overlayNode(disk)}-f`])
      .map((node) => qmp.send("blockdev-del", { "node-name": node })),
  ]);
}

function fileOptions(node: string, path: string) {
  const options = { "node-name": `${node}-f`, filename: path, "auto-read-only": true, discard: "unmap", cache };
  return { driver: "file", ...options };
}

function formatOptions(node: string, backing: string | null) {
  return {
    driver: "qcow2",
    "node-name": node,
    file: `${node}-f`,
    "read-only": false,
    discard: "unmap",
    "detect-zeroes": "off",
    cache,
    backing,
  };
}

function runtimePaths(directory: string, guest: Guest): RuntimePaths {
  return {
    qmpSocket: join(directory, "qmp.sock"),
    pidFile: join(directory, "qemu.pid"),
    logFile: join(directory, "qemu.log"),
    agentSocket: join(directory, "agent.sock"),
    chains: Object.fromEntries(
      guest.disks.map(({ target, base }) => [target, [{ type: "file", path: base, format: "qcow2" }]]),
    ),
  };
}

function baseNode({ target }: GuestDisk): string {
  return nameNodes(target, 0).node;
}

function overlayNode({ target }: GuestDisk): string {
  return `${target}-o`;
}

function mirrorNode({ target }: GuestDisk): string {
  return `${target}-m`;
}

function mirrorJob({ target }: GuestDisk): string {
  return `mirror-${target}`;
}
