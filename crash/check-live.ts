/** What must hold of a QEMU that runs after recovery. */
import type { Monitor } from "../src/qemu/monitor.ts";
import type { Blame } from "./failure.ts";
import { domainName, type Machine } from "./machine.ts";

/** The guest can write; QEMU has no job and no node that is not of a disk; its disks are those that qmirror names. */
export async function checkLive(machine: Machine, blame: Blame): Promise<void> {
  const { writer, daemon, disks } = machine;
  try {
    await writer.awaitMore(disks, AbortSignal.timeout(10_000));
  } catch {
    const { state } = await daemon.call("getDomain", domainName);
    blame(
      "other",
      `the guest cannot write any more: it is ${state}, ${writer.monitor === undefined ? "without" : "with"} a QEMU`,
    );
  }
  const { monitor } = writer;
  if (monitor === undefined) return;
  await writer.pause();
  try {
    const jobs = await monitor.execute("query-jobs");
    if (jobs.length > 0) blame("leftovers", `jobs: ${jobs.map(({ id, status }) => `${id} ${status}`).join(", ")}`);
    const told = (await daemon.call("domainDisks", domainName)).map(({ chain }) => chain.map(({ path }) => path));
    const seen = await readChains(monitor);
    if (JSON.stringify(told) !== JSON.stringify(seen)) {
      blame(
        "definition differs from the truth",
        `QEMU has ${JSON.stringify(seen)}, qmirror says ${JSON.stringify(told)}`,
      );
    }
    const nodes = await monitor.execute("query-named-block-nodes", { flat: true });
    const nodesOfLayer = 2; // format and file
    if (nodes.length !== seen.flat().length * nodesOfLayer) {
      const names = nodes.map((node) => `${node["node-name"] ?? ""} ${node.drv} ${node.file}`);
      blame("leftovers", `nodes for ${seen.flat().length} layers: ${names.join(", ")}`);
    }
    const inactive = sourcesOf(await daemon.call("domainXml", domainName, { inactive: true }));
    const active = seen.map(([first]) => first);
    if (JSON.stringify(inactive) !== JSON.stringify(active)) {
      blame(
        "definition differs from the truth",
        `the definition has ${JSON.stringify(inactive)}, QEMU ${JSON.stringify(active)}`,
      );
    }
  } finally {
    writer.resume();
  }
}

export function sourcesOf(xml: string): string[] {
  return [...xml.matchAll(/<disk [\s\S]*?<\/disk>/g)].map(
    ([disk]) => /<source file=['"]([^'"]+)/.exec(disk)?.[1] ?? "",
  );
}

interface Image {
  readonly filename: string;
  readonly "backing-image"?: Image;
}

/** By QEMU's own words, in the order of the disks. */
async function readChains(monitor: Monitor): Promise<string[][]> {
  const blocks = (await monitor.execute("query-block")).filter(({ qdev }) => qdev?.includes("/virtio-backend"));
  return blocks
    .toSorted((a, b) => (a.qdev ?? "").localeCompare(b.qdev ?? ""))
    .map(({ inserted }) => {
      const chain = [];
      let image: Image | undefined = inserted?.image;
      for (; image !== undefined; image = image["backing-image"]) chain.push(fileOf(image.filename));
      return chain;
    });
}

/** An image whose options are not those of its header is shown as `json:`. */
function fileOf(filename: string): string {
  if (!filename.startsWith("json:")) return filename;
  const found = /"file": \{[^{}]*"filename": "([^"]+)"/.exec(filename);
  return found?.[1] ?? filename;
}
