import { test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  statfsSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { assertUsableTarget, createEmptyFile, removeFile, syncDirectory } from "../../src/image/files.ts";
import { allocatedBytes, assertSpace } from "../../src/image/space.ts";
import { failsWith, scratchDirectory } from "./scratch.ts";

const disk = "vda";

test("createEmptyFile creates once, with the exact mode, and follows no link", async (t) => {
  const directory = scratchDirectory(t);
  const path = join(directory, "new");
  const umask = process.umask(0o077);
  t.after(() => process.umask(umask));
  await createEmptyFile(path, { disk, mode: 0o664 });
  assert.equal(statSync(path).mode & 0o777, 0o664);
  await assert.rejects(createEmptyFile(path, { disk }), failsWith("QM_FILE_EXISTS"));
  const link = join(directory, "link");
  symlinkSync(join(directory, "elsewhere"), link);
  await assert.rejects(createEmptyFile(link, { disk }), failsWith("QM_FILE_EXISTS"));
  assert.equal(existsSync(join(directory, "elsewhere")), false);
  await assert.rejects(createEmptyFile(join(directory, "no/file"), { disk }), failsWith("QM_NO_DIRECTORY"));
  await assert.rejects(createEmptyFile("file", { disk }), failsWith("QM_INVALID"));
  if (process.getuid?.() === 0) {
    const owned = join(directory, "owned");
    await createEmptyFile(owned, { disk, uid: 65534, gid: 65533 });
    const { uid, gid, mode } = statSync(owned);
    assert.deepEqual([uid, gid, mode & 0o777], [65534, 65533, 0o600]);
  }
});

test("assertUsableTarget tells what may be written", async (t) => {
  const directory = scratchDirectory(t);
  const at = (name: string) => join(directory, name);
  writeFileSync(at("empty"), "");
  writeFileSync(at("full"), "data");
  mkdirSync(at("directory"));
  symlinkSync(at("nowhere"), at("dangling"));
  execFileSync("mkfifo", [at("fifo")]);
  assert.equal(await assertUsableTarget(disk, at("new")), "missing");
  assert.equal(await assertUsableTarget(disk, at("empty")), "file");
  assert.equal(await assertUsableTarget(disk, at("full"), { reuseExternal: true }), "file");
  await assert.rejects(assertUsableTarget(disk, at("full")), failsWith("QM_FILE_EXISTS"));
  await assert.rejects(assertUsableTarget(disk, at("dangling")), failsWith("QM_FILE_EXISTS"));
  await assert.rejects(assertUsableTarget(disk, at("new"), { reuseExternal: true }), failsWith("QM_NO_FILE"));
  await assert.rejects(assertUsableTarget(disk, at("directory")), failsWith("QM_UNSUPPORTED"));
  await assert.rejects(assertUsableTarget(disk, at("fifo")), failsWith("QM_UNSUPPORTED"));
  await assert.rejects(assertUsableTarget(disk, at("no/new")), failsWith("QM_NO_DIRECTORY"));
  await assert.rejects(assertUsableTarget(disk, at("full/new")), failsWith("QM_NO_DIRECTORY"));
  assert.equal(readFileSync(at("full"), "utf8"), "data");
});

test("removeFile and syncDirectory report what went wrong, and a missing file is fine", async (t) => {
  const directory = scratchDirectory(t);
  writeFileSync(join(directory, "file"), "");
  await syncDirectory(directory);
  await removeFile(join(directory, "file"));
  await removeFile(join(directory, "file"));
  assert.equal(existsSync(join(directory, "file")), false);
  await assert.rejects(removeFile(directory), failsWith("QM_IO", /removing/));
  await assert.rejects(syncDirectory(join(directory, "no")), failsWith("QM_IO", /syncing/));
});

test("space is measured in what a file takes and what a file system has", async (t) => {
  const directory = scratchDirectory(t);
  const path = join(directory, "sparse");
  writeFileSync(path, "");
  truncateSync(path, 1 << 30);
  assert.ok((await allocatedBytes(path)) < 1 << 20);
  await assertSpace({ directory, neededBytes: 1 });
  const { blocks, bsize } = statfsSync(directory);
  await assert.rejects(assertSpace({ directory, neededBytes: blocks * bsize + 1 }), failsWith("QM_NO_SPACE"));
  await assert.rejects(assertSpace({ directory: join(directory, "no"), neededBytes: 1 }), failsWith("QM_NO_DIRECTORY"));
});
