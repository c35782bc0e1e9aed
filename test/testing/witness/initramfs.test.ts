import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isQmError } from "../../../src/base/errors.ts";
import { formatWitnessCmdline } from "../../../src/testing/witness/cmdline.ts";
import { buildCpio } from "../../../src/testing/witness/cpio.ts";
import guestModules from "../../../src/testing/witness/guest-modules.json" with { type: "json" };
import { buildInitramfs } from "../../../src/testing/witness/initramfs.ts";

/** Reads an archive back by the format's own description: 110 bytes of header, name, content, both padded to 4. */
function listArchive(archive: Buffer): { name: string; mode: number; device: string; content: string }[] {
  const entries = [];
  for (let at = 0; at < archive.length;) {
    const header = archive.toString("latin1", at, at + 110);
    assert.match(header, /^070701[0-9a-f]{104}$/);
    const field = (index: number) => parseInt(header.slice(6 + index * 8, 14 + index * 8), 16);
    const [nameEnd, sizeBytes] = [at + 110 + field(11), field(6)];
    const contentStart = (nameEnd + 3) & ~3;
    entries.push({
      name: archive.toString("latin1", at + 110, nameEnd - 1),
      mode: field(1),
      device: `${field(9)}:${field(10)}`,
      content: archive.toString("latin1", contentStart, contentStart + sizeBytes),
    });
    at = (contentStart + sizeBytes + 3) & ~3;
  }
  return entries;
}

test("an archive holds directories, files and devices, aligned, with its trailer", () => {
  const archive = buildCpio([
    { type: "directory", path: "dev" },
    { type: "character-device", path: "dev/console", major: 5, minor: 1 },
    { type: "file", path: "init", content: Buffer.from("12345"), executable: true },
    { type: "file", path: "data", content: Buffer.alloc(0), executable: false },
  ]);
  assert.deepEqual(listArchive(archive), [
    { name: "dev", mode: 0o040755, device: "0:0", content: "" },
    { name: "dev/console", mode: 0o020600, device: "5:1", content: "" },
    { name: "init", mode: 0o100755, device: "0:0", content: "12345" },
    { name: "data", mode: 0o100644, device: "0:0", content: "" },
    { name: "TRAILER!!!", mode: 0, device: "0:0", content: "" },
  ]);
});

test("without the guest kernel the error says how to get it", async () => {
  const cache = await mkdtemp(join(tmpdir(), "qmirror-cache-"));
  try {
    await assert.rejects(
      buildInitramfs(cache),
      (error) => isQmError(error, "QM_IO") && /bootstrap/.test(error.message),
    );
  } finally {
    await rm(cache, { recursive: true });
  }
});

test("only a guest that is to have an agent carries it, its driver and its libraries", async () => {
  const cache = await mkdtemp(join(tmpdir(), "qmirror-cache-"));
  try {
    await mkdir(join(cache, "guest-kernel"));
    for (const name of [
      "vmlinuz",
      ...Object.values(guestModules).flatMap((names) => names.map((one) => `${one}.ko`)),
    ]) {
      await writeFile(join(cache, "guest-kernel", name), name);
    }
    await assert.rejects(
      buildInitramfs(cache, { agent: true }),
      (error) => isQmError(error, "QM_IO") && /guest-agent.*bootstrap/s.test(error.message),
    );
    await mkdir(join(cache, "guest-agent"));
    for (const name of ["qemu-ga", "libc.so.6", "ld-linux-x86-64.so.2"]) {
      await writeFile(join(cache, "guest-agent", name), name);
    }
    const namesOf = async (options: { agent?: boolean }): Promise<string[]> =>
      listArchive(await readFile((await buildInitramfs(cache, options)).initrd)).map(({ name }) => name);
    const plain = await namesOf({});
    const own = ["modules/virtio_console.ko", "bin/qemu-ga", "lib/libc.so.6", "lib64/ld-linux-x86-64.so.2"];
    assert.deepEqual(
      new Set(await namesOf({ agent: true })),
      new Set([...plain, ...own, "lib", "lib64", "run", "mnt"]),
    );
    assert.ok(!own.some((name) => plain.includes(name)));
  } finally {
    await rm(cache, { recursive: true });
  }
});

test("the command line carries every option in the guest's units", () => {
  const cmdline = formatWitnessCmdline({
    disks: ["vda", "vdb"],
    run: 0xabcn,
    offsetBytes: 8192,
    intervalUs: 5,
    count: 9,
  });
  const words =
    "witness.disks=vda,vdb witness.run=abc witness.slots=16384 witness.offset=8192 witness.interval_us=5 witness.count=9";
  assert.ok(cmdline.endsWith(words), cmdline);
});

for (const [name, options] of Object.entries({
  "no disk": { disks: [] },
  "a disk name with another option in it": { disks: ["vda init=x"] },
  "a run beyond 63 bits": { run: 2n ** 63n },
  "slots that are a multiple of the stride": { slots: 34 },
  "an offset inside a block": { offsetBytes: 100 },
  "a negative interval": { intervalUs: -1 },
})) {
  test(`the command line refuses ${name}`, () => {
    assert.throws(
      () => formatWitnessCmdline({ disks: ["vda"], run: 1n, ...options }),
      (error) => isQmError(error, "QM_INVALID"),
    );
  });
}
