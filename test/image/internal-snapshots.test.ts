import assert from "node:assert/strict";
import { join } from "node:path";
import { truncateSync } from "node:fs";
import { test } from "node:test";
import {
  applyInternal,
  createInternal,
  deleteInternal,
  extractInternal,
  listInternalSnapshots,
} from "../../src/image/internal-snapshots.ts";
import { failsWith, image, qemuImg, qemuIo, scratchDirectory } from "./scratch.ts";

const disk = "vda";

function assertShows(path: string, pattern: number, offset: string): void {
  assert.doesNotMatch(qemuIo(path, `read -P ${pattern} ${offset} 64k`), /failed/);
}

test("snapshots are taken, listed, applied and deleted; each may be repeated", async (t) => {
  const directory = scratchDirectory(t);
  const disk0 = image(join(directory, "a,b:c"));
  qemuImg("create", "-q", "-f", "qcow2", disk0.path, "8M");
  qemuIo(disk0.path, "write -P 1 0 64k");
  const since = Math.floor(Date.now() / 1000);
  await createInternal({ disk, image: disk0, tag: "-odd, ü" });
  await createInternal({ disk, image: disk0, tag: "-odd, ü" });
  qemuIo(disk0.path, "write -P 2 0 64k");
  // The name of this one is the id of the first.
  await createInternal({ disk, image: disk0, tag: "1" });
  qemuIo(disk0.path, "write -P 3 0 64k");

  const [first, second, ...more] = await listInternalSnapshots(disk0, { disk });
  assert.deepEqual(more, []);
  assert.ok(first !== undefined && first.creationTime >= since);
  const { creationTime } = first;
  assert.deepEqual(first, { id: "1", name: "-odd, ü", vmStateBytes: 0, creationTime, virtualSizeBytes: 8 << 20 });
  assert.equal(second?.name, "1");

  for (let round = 0; round < 2; round++) await applyInternal({ disk, image: disk0, tag: "1" });
  assertShows(disk0.path, 2, "0");
  for (let round = 0; round < 2; round++) await deleteInternal({ disk, image: disk0, tag: "1" });
  await applyInternal({ disk, image: disk0, tag: "-odd, ü" });
  assertShows(disk0.path, 1, "0");
  await assert.rejects(
    applyInternal({ disk, image: disk0, tag: "1" }),
    failsWith("QM_SNAPSHOT_TREE", /has no internal/),
  );
  assert.deepEqual(
    (await listInternalSnapshots(disk0, { disk })).map(({ name }) => name),
    ["-odd, ü"],
  );
});

test("a name that several have is refused, and nothing is deleted", async (t) => {
  const twice = image(join(scratchDirectory(t), "twice"));
  qemuImg("create", "-q", "-f", "qcow2", twice.path, "1M");
  for (let round = 0; round < 2; round++) qemuImg("snapshot", "-c", "s", twice.path);
  for (const act of [createInternal, applyInternal, deleteInternal]) {
    await assert.rejects(act({ disk, image: twice, tag: "s" }), failsWith("QM_SNAPSHOT_TREE", /2 internal snapshots/));
  }
  assert.equal((await listInternalSnapshots(twice, { disk })).length, 2);
});

test("what a snapshot shows is extracted with what is below it, without the backing file being needed afterwards", async (t) => {
  const directory = scratchDirectory(t);
  const [base, top, to] = ["base", "top", "to"].map((name) => image(join(directory, name)));
  assert.ok(base !== undefined && top !== undefined && to !== undefined);
  qemuImg("create", "-q", "-f", "qcow2", base.path, "8M");
  qemuIo(base.path, "write -P 1 0 1M");
  qemuImg("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base.path, top.path);
  qemuIo(top.path, "write -P 2 64k 64k");
  await createInternal({ disk, image: top, tag: "s" });
  qemuIo(top.path, "write -P 3 0 128k");
  for (let round = 0; round < 2; round++) {
    await extractInternal({ disk, chain: [top, base], tag: "s", to });
    assertShows(to.path, 1, "0");
    assertShows(to.path, 2, "64k");
  }
  assert.doesNotMatch(qemuImg("info", to.path), /backing/);
  qemuImg("resize", "-q", top.path, "16M");
  const resized = extractInternal({ disk, chain: [top, base], tag: "s", to });
  await assert.rejects(resized, failsWith("QM_UNSUPPORTED", /16777216 bytes now and had 8388608/));
  await applyInternal({ disk, image: top, tag: "s" });
  assert.match(qemuImg("info", top.path), /virtual size: 8 MiB/);
});

test("many snapshots are listed; a table that is cut short is refused; a raw image has none", async (t) => {
  const directory = scratchDirectory(t);
  const many = image(join(directory, "many"));
  qemuImg("create", "-q", "-f", "qcow2", many.path, "1M");
  const names = ["x".repeat(200), "y".repeat(255), "z"];
  for (const name of names) qemuImg("snapshot", "-c", name, many.path);
  assert.deepEqual(
    (await listInternalSnapshots(many, { disk })).map(({ name }) => name),
    names,
  );
  truncateSync(many.path, 5 * 65536);
  await assert.rejects(listInternalSnapshots(many, { disk }), failsWith("QM_IMAGE_FORMAT", /malformed/));
  assert.deepEqual(await listInternalSnapshots(image(many.path, "raw"), { disk }), []);
});
