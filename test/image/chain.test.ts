import { test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readChain } from "../../src/image/chain.ts";
import { readImageInfo } from "../../src/image/info.ts";
import { failsWith, image, qemuImg, scratchDirectory } from "./scratch.ts";

const disk = "vda";

function overlay(path: string, backing: string, format: string): void {
  qemuImg("create", "-q", "-f", "qcow2", path, "1M");
  qemuImg("rebase", "-q", "-u", "-f", "qcow2", "-F", format, "-b", backing, path);
}

test("a chain is read with each layer's stated format, whatever its names look like", async (t) => {
  const directory = scratchDirectory(t);
  const sub = join(directory, "-a,b:c json:{x}=");
  mkdirSync(sub);
  const base = join(sub, "base,x=1:2.raw");
  writeFileSync(base, "");
  truncateSync(base, 1000);
  const middle = join(sub, "middle");
  overlay(middle, "./base,x=1:2.raw", "raw");
  const top = join(directory, "top");
  overlay(top, "./-a,b:c json:{x}=/../-a,b:c json:{x}=/middle", "qcow2");
  symlinkSync(top, join(sub, "link"));
  assert.deepEqual(await readChain(image(top), { disk }), [image(top), image(middle), image(base, "raw")]);
  assert.deepEqual(await readChain(image(base, "raw"), { disk }), [image(base, "raw")]);
  assert.equal((await readImageInfo(image(base, "raw"), { disk })).virtualSizeBytes, 1024);
  // As in QEMU, a relative name starts at the directory of the link, not at that of its target.
  await assert.rejects(readChain(image(join(sub, "link")), { disk }), failsWith("QM_CHAIN_BROKEN", /does not exist/));
});

test("a broken chain is named with its layer and reason", async (t) => {
  const directory = scratchDirectory(t);
  const at = (name: string) => join(directory, name);
  writeFileSync(at("text"), "no image at all, but long enough to hold a header".repeat(10));
  execFileSync("mkfifo", [at("fifo")]);
  const cases: [backing: string, format: string | undefined, code: Parameters<typeof failsWith>[0], words: RegExp][] = [
    ["gone", "raw", "QM_CHAIN_BROKEN", /gone: it does not exist/],
    ["text", "qcow2", "QM_CHAIN_BROKEN", /no qcow2 header/],
    ["text", "vmdk", "QM_CHAIN_BROKEN", /format 'vmdk' is not supported/],
    ["text", undefined, "QM_CHAIN_BROKEN", /does not state the backing file's format/],
    ["nbd://host/x", "raw", "QM_CHAIN_BROKEN", /'nbd:\/\/host\/x' is not a plain path/],
    ['json:{"driver":"null-co"}', "raw", "QM_CHAIN_BROKEN", /is not a plain path/],
    ["fifo", "raw", "QM_UNSUPPORTED", /neither a regular file nor a block device/],
    [".", "raw", "QM_UNSUPPORTED", /neither a regular file/],
    ["/dev/null", "raw", "QM_UNSUPPORTED", /neither a regular file/],
    ["top", "qcow2", "QM_CHAIN_BROKEN", /in the chain twice/],
  ];
  for (const [backing, format, code, words] of cases) {
    if (format === undefined) writeBackingWithoutFormat(at("top"), backing);
    else overlay(at("top"), backing, format);
    await assert.rejects(readChain(image(at("top")), { disk }), failsWith(code, words), backing);
  }
  await assert.rejects(readChain(image(at("none")), { disk }), failsWith("QM_NO_FILE"));
  await assert.rejects(readChain(image("relative"), { disk }), failsWith("QM_INVALID"));
  await assert.rejects(readChain(image(at("text")), { disk }), failsWith("QM_IMAGE_FORMAT"));
});

test("depth is limited, and forbidden layers are refused by their real path", async (t) => {
  const directory = scratchDirectory(t);
  const at = (name: string) => join(directory, name);
  writeFileSync(at("0"), "");
  for (let layer = 1; layer < 6; layer++) overlay(at(String(layer)), String(layer - 1), layer === 1 ? "raw" : "qcow2");
  assert.equal((await readChain(image(at("5")), { disk, maxDepth: 6 })).length, 6);
  await assert.rejects(readChain(image(at("5")), { disk, maxDepth: 5 }), failsWith("QM_CHAIN_BROKEN", /more than 5/));

  mkdirSync(at("outside"));
  writeFileSync(join(at("outside"), "raw"), "");
  symlinkSync(join(at("outside"), "raw"), at("inside"));
  overlay(at("top"), "inside", "raw");
  const allowPath = (path: string) => (path.startsWith(at("outside")) ? "not allowed" : undefined);
  await assert.rejects(readChain(image(at("top")), { disk, allowPath }), failsWith("QM_PATH_FORBIDDEN", /not allowed/));
  overlay(at("top"), "0", "raw");
  assert.equal((await readChain(image(at("top")), { disk, allowPath })).length, 2);
});

/** qemu-img will not write such a header any more: stated by hand, as old images have it. */
function writeBackingWithoutFormat(path: string, backing: string): void {
  const data = Buffer.alloc(65536);
  data.write("QFI\xfb", "latin1");
  data.writeUInt32BE(2, 4);
  data.writeBigUInt64BE(512n, 8);
  data.writeUInt32BE(backing.length, 16);
  data.writeUInt32BE(16, 20);
  data.writeBigUInt64BE(1n << 20n, 24);
  data.write(backing, 512);
  writeFileSync(path, data);
}
