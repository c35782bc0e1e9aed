/** Backing files that an image's header names: what must never reach QEMU. What live domains do with them: `guest-images.test.ts`. */
import assert from "node:assert/strict";
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { readChain } from "../../src/image/chain.ts";
import { createEmptyFile } from "../../src/image/files.ts";
import { failsWith, image, qemuImg, scratchDirectory } from "../image/scratch.ts";

const disk = "vda";

function overlay(path: string, backing: string, format = "raw"): string {
  qemuImg("create", "-q", "-f", "qcow2", path, "1M");
  qemuImg("rebase", "-q", "-u", "-f", "qcow2", "-F", format, "-b", backing, path);
  return path;
}

test("device nodes, pipes, directories, loops, json: and network names in a header are refused", async (t) => {
  const top = join(scratchDirectory(t), "top");
  for (const [backing, code] of [
    ["/dev/zero", "QM_UNSUPPORTED"],
    ["/dev/tty", "QM_UNSUPPORTED"],
    ["/", "QM_UNSUPPORTED"],
    ["top", "QM_CHAIN_BROKEN"],
    ["nbd:127.0.0.1:1", "QM_CHAIN_BROKEN"],
    ["nbd+unix:///x?socket=/run/x", "QM_CHAIN_BROKEN"],
    ["ssh://root@127.0.0.1/etc/shadow", "QM_CHAIN_BROKEN"],
    ["fat:rw:/etc", "QM_CHAIN_BROKEN"],
    ["file:/etc/hostname", "QM_CHAIN_BROKEN"],
    ["fd:0", "QM_CHAIN_BROKEN"],
    ['json:{"driver":"raw","file":{"driver":"file","filename":"/etc/hostname"}}', "QM_CHAIN_BROKEN"],
  ] as const) {
    overlay(top, backing, backing === "top" ? "qcow2" : "raw");
    await assert.rejects(readChain(image(top), { disk }), failsWith(code), backing);
  }
});

test("a directory that is not allowed is not reached by a symbolic link, nor by one that is put there after the check", async (t) => {
  const directory = scratchDirectory(t);
  const at = (...names: string[]) => join(directory, ...names);
  for (const name of ["roots", "outside"]) mkdirSync(at(name));
  writeFileSync(at("outside", "secret"), "s".repeat(1024));
  writeFileSync(at("roots", "base"), "b".repeat(1024));
  const top = overlay(at("roots", "top"), "base");
  const asked: string[] = [];
  const allowPath = (path: string) => {
    asked.push(path);
    if (!path.startsWith(at("roots/"))) return "not a storage root";
    // Somebody swaps the file right after it was found to be a good one.
    if (path === at("roots", "base") && asked.filter((one) => one === path).length === 1) {
      renameSync(at("roots", "base"), at("roots", "kept"));
      symlinkSync(at("outside", "secret"), at("roots", "base"));
    }
    return undefined;
  };
  await assert.rejects(
    readChain(image(top), { disk, allowPath }),
    failsWith("QM_PATH_FORBIDDEN", /not a storage root/),
  );
  assert.deepEqual(
    asked.slice(-2),
    [at("roots", "base"), at("outside", "secret")],
    "asked again about what was opened",
  );
  await assert.rejects(readChain(image(top), { disk, allowPath }), failsWith("QM_PATH_FORBIDDEN"));
});

test("a new file is never made through a symbolic link, and of several who want one name one gets it", async (t) => {
  const directory = scratchDirectory(t);
  const at = (name: string) => join(directory, name);
  symlinkSync(at("elsewhere"), at("dangling"));
  writeFileSync(at("precious"), "precious");
  symlinkSync(at("precious"), at("link"));
  for (const name of ["dangling", "link", "precious"]) {
    await assert.rejects(createEmptyFile(at(name), { disk }), failsWith("QM_FILE_EXISTS"));
  }
  const made = await Promise.allSettled(Array.from({ length: 8 }, () => createEmptyFile(at("new"), { disk })));
  assert.equal(made.filter(({ status }) => status === "fulfilled").length, 1);
});

test("a password in a backing file's name is not repeated", async (t) => {
  const top = join(scratchDirectory(t), "top");
  for (const name of [
    "https://user:hunter2@host/x?token=hunter2",
    'json:{"driver":"ssh","password":"hunter2"}',
    "rbd:p/i:key=hunter2",
  ]) {
    overlay(top, name);
    await assert.rejects(
      readChain(image(top), { disk }),
      (error) => isQmError(error, "QM_CHAIN_BROKEN") && !JSON.stringify(error).includes("hunter2"),
      name,
    );
  }
});
