/** What has to hold after a crash and a recovery, seen in the images, the state file and QEMU. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import type { OperationView } from "../../src/api-types/index.ts";
import { stateFileName } from "../../src/daemon/compose.ts";
import { readChain } from "../../src/image/chain.ts";
import { checkImage } from "../../src/image/check.ts";
import { openStore } from "../../src/journal/store.ts";
import { parseDomain } from "../../src/model/domain-parse.ts";
import type { ImageRef } from "../../src/model/image.ts";
import type { Snapshot } from "../../src/model/snapshot.ts";
import { blockBytes, blocks, copyOf, domain, type Content, type Holding, type TreeStage } from "./tree-stage.ts";

const run = promisify(execFile);

/** Written to the last block, which the preparation leaves alone. */
const newPattern = 99;

/** The newest operation, when it has ended. */
export async function awaitEnd({ facade }: TreeStage): Promise<OperationView> {
  const [newest] = await facade.listOperations({});
  assert.ok(newest, "the operation is in the journal");
  const final = await facade.waitOperation(newest.id, AbortSignal.timeout(30_000));
  assert.notEqual(final.state, "running");
  return final;
}

/** The guest's state, and what is open in QEMU. A running guest's writes land where they belong: in nothing but its present content. */
export async function checkMachine(stage: TreeStage, state: string, holding: Holding): Promise<Holding> {
  const view = await stage.facade.getDomain(domain);
  assert.equal(view.state, state);
  const directory = stage.path("run", "domains");
  const [uuid = ""] = existsSync(directory) ? readdirSync(directory) : [];
  const left = uuid === "" ? [] : readdirSync(join(directory, uuid));
  assert.deepEqual(
    left.filter((name) => !["qmp.sock", "qemu.pid", "qemu.log"].includes(name)),
    [],
  );
  if (view.id === null) return holding;
  const eye = await stage.eye();
  assert.equal((await eye.execute("query-status")).running, state === "running");
  assert.deepEqual(await eye.execute("query-jobs"), []);
  const chains = (await stage.facade.domainDisks(domain)).map(({ chain }) => chain.map(({ path }) => path));
  const nodes = (await eye.execute("query-named-block-nodes", { flat: true })).map((node) => node["node-name"]);
  assert.equal(nodes.length, 2 * chains.flat().length, `${nodes.join(" ")} for ${JSON.stringify(chains)}`);
  const [live, next] = await Promise.all(
    [false, true].map(async (inactive) => await stage.facade.domainXml(domain, { inactive })),
  );
  assert.deepEqual(activeImages(live), activeImages(next), "the definitions of now and of the next start differ");
  assert.deepEqual(
    activeImages(live),
    chains.map(([active]) => active),
  );
  const present = copyOf(holding.present);
  for (const disk of present.keys()) await stage.fill(present, newPattern, blocks - 1, 1, disk);
  return { ...holding, present };
}

function activeImages(xml = ""): string[] {
  const disks = xml.match(/<disk [^]*?<\/disk>/g) ?? [];
  return disks.map((disk) => /<source file='([^']*)'/.exec(disk)?.[1] ?? disk);
}

export interface Seen {
  /** Without the parts that are made of the operation's id. */
  readonly files: readonly string[];
  readonly recorded: readonly string[];
  readonly current: string | undefined;
}

/**
 * What the state file and the images hold; neither the service nor QEMU runs. Of the snapshots whose deletion has `begun` any part may be
 * gone. Returns what is there, for comparing.
 */
export async function checkImages(stage: TreeStage, holding: Holding, begun: readonly string[] = []): Promise<Seen> {
  const store = openStore(stage.path("state", stateFileName));
  try {
    const [row] = store.domains.list();
    assert.ok(row?.definition, "the domain is known");
    const all = store.snapshots.list<Snapshot, unknown>(row.uuid);
    const snapshots = all.filter(({ deleting }) => !deleting);
    assert.deepEqual(namesOf(snapshots), [...holding.snapshots.keys()].toSorted());
    const deleted = all.filter(({ deleting }) => deleting);
    assert.deepEqual(namesOf(deleted), begun.toSorted());
    const layers = store.layers.list<ImageRef>(row.uuid);
    const active = parseDomain(row.definition).disks.flatMap(({ source }) => source ?? []);
    const needed = [
      ...active,
      ...snapshots.flatMap(({ document }) => document.disks.flatMap(({ base }) => base ?? [])),
    ];
    const chains = await Promise.all(needed.map((image) => readChain(image, { disk: "vda" })));
    const reached = new Set([
      ...[...chains.flat(), ...layers].map(({ path }) => path),
      ...all.flatMap(({ document }) => document.memory?.file ?? []),
      ...deleted.flatMap(({ document }) => document.disks.flatMap(({ base }) => base?.path ?? [])),
    ]);
    const files = readdirSync(stage.path("images")).map((name) => stage.path("images", name));
    assert.deepEqual(
      files.filter((path) => !reached.has(path) && !path.endsWith("saved.mem")),
      [],
      "left over",
    );
    await Promise.all(files.filter((path) => !path.endsWith(".mem")).map(assertSound));
    await Promise.all([
      assertContent(active, holding.present, "what the domain holds"),
      ...snapshots.map(async ({ name, document }) => {
        const bases = document.disks.flatMap(({ base }) => base ?? []);
        const inside = document.disks.map(({ snapshot }) => snapshot === "internal");
        await assertContent(bases, holding.snapshots.get(name) ?? [], `snapshot '${name}'`, inside, name);
      }),
    ]);
    return {
      files: files.map((path) => basename(path).replace(/\.r\w{6}$/, ".r")).toSorted(),
      recorded: layers.map(({ path }) => basename(path).replace(/\.r\w{6}$/, ".r")).toSorted(),
      current: snapshots.find(({ current }) => current)?.name,
    };
  } finally {
    store.close();
  }
}

function namesOf(snapshots: readonly { readonly name: string }[]): string[] {
  return snapshots.map(({ name }) => name).toSorted();
}

async function assertSound(path: string): Promise<void> {
  const { corruptions, checkErrors } = await checkImage({ type: "file", path, format: "qcow2" });
  assert.deepEqual({ corruptions, checkErrors }, { corruptions: 0, checkErrors: 0 }, path);
}

async function assertContent(
  images: readonly ImageRef[],
  content: Content,
  what: string,
  inside: readonly boolean[] = [],
  tag = "",
): Promise<void> {
  assert.equal(images.length, content.length, what);
  await Promise.all(
    images.map(async ({ path }, index) => {
      const raw = `${path}.${what.replaceAll(/\W/g, "")}.raw`;
      const from = inside[index] === true ? ["-l", `snapshot.name=${tag}`] : [];
      try {
        await run("qemu-img", ["convert", "-f", "qcow2", ...from, "-O", "raw", path, raw]);
        const found = blocksOf(await readFile(raw));
        assert.deepEqual(found, [...(content[index] ?? [])].map(String), `${what}, disk ${index}: ${path}`);
      } finally {
        await rm(raw, { force: true });
      }
    }),
  );
}

function blocksOf(bytes: Buffer): string[] {
  return Array.from({ length: bytes.length / blockBytes }, (_, index) => {
    const block = bytes.subarray(index * blockBytes, (index + 1) * blockBytes);
    const [first = 0] = block;
    return block.equals(Buffer.alloc(blockBytes, first)) ? String(first) : "mixed";
  });
}
