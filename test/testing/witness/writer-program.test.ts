import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { assembleProgram } from "../../../src/testing/witness/assemble.ts";
import { blockBytes, buildRecord, slotOfRecord } from "../../../src/testing/witness/record.ts";
import { buildWriterProgram } from "../../../src/testing/witness/writer-program.ts";

// The guest's program is an ordinary static executable: on the same processor it runs here, with files for disks
const skip = process.platform !== "linux" || process.arch !== "x64" ? "the program is for x86-64 Linux" : false;

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "qmirror-writer-"));
  await writeFile(join(directory, "witness"), buildWriterProgram());
  await chmod(join(directory, "witness"), 0o755);
});
after(() => rm(directory, { recursive: true, force: true }));

function runWriter(...args: (string | number)[]): Promise<{ status: number | string | null; lines: string[] }> {
  return new Promise((resolve) => {
    execFile(join(directory, "witness"), args.map(String), { timeout: 10_000 }, (error, stdout) => {
      resolve({ status: error === null ? 0 : (error.code ?? null), lines: stdout.trimEnd().split("\n") });
    });
  });
}

test("the program writes the records that the host expects, in turn, and reports each", { skip }, async (t) => {
  const [run, slots, offset, count] = [2n ** 62n + 0x1_dead_beefn, 32, 2 * blockBytes, 40];
  const paths = [join(directory, "disk0"), join(directory, "disk1")];
  for (const path of paths) await writeFile(path, Buffer.alloc(offset + slots * blockBytes));
  const { status, lines } = await runWriter(String(run), slots, offset, 0, count, ...paths);
  if (lines[0] === "E 0 0 22") return t.skip("the file system of the temporary directory has no O_DIRECT");

  assert.equal(status, 0);
  const expected = Array.from({ length: count }, (_, index) => [`W ${index + 1} 0`, `W ${index + 1} 1`]).flat();
  assert.deepEqual(
    lines.map((line) => line.replace(/ \d+$/, "")),
    expected,
  );
  for (const [disk, path] of paths.entries()) {
    const content = await readFile(path);
    assert.deepEqual(content.subarray(0, offset), Buffer.alloc(offset));
    for (let sequence = count - slots + 1; sequence <= count; sequence++) {
      const at = offset + slotOfRecord(sequence, slots) * blockBytes;
      const record = content.subarray(at, at + blockBytes);
      assert.ok(record.equals(buildRecord(run, sequence, disk)), `record ${sequence} of disk ${disk}`);
    }
  }
});

test("the program sleeps between writes, and its latencies do not count that", { skip }, async (t) => {
  const path = join(directory, "slow");
  await writeFile(path, Buffer.alloc(8 * blockBytes));
  const startMs = performance.now();
  const { lines } = await runWriter(1, 8, 0, 300_000, 2, path);
  if (lines[0] === "E 0 0 22") return t.skip("the file system of the temporary directory has no O_DIRECT");
  assert.ok(performance.now() - startMs >= 600);
  const latencies = lines.map((line) => Number(line.split(" ").at(-1)));
  assert.ok(Math.min(...latencies) < 300_000, lines.join());
});

test("a disk that cannot be opened is reported with its index and errno", { skip }, async () => {
  assert.deepEqual(await runWriter(1, 8, 0, 0, 1, join(directory, "absent")), { status: 1, lines: ["E 0 0 2"] });
});

test("a listing with an unknown label or too much code is refused", () => {
  assert.throws(() => assembleProgram([{ jump: "jmp", to: "nowhere" }], 0x1000, 0x1000), /no label nowhere/);
  assert.throws(() => assembleProgram([["90", "nop"]], 0x1000, 64), RangeError);
});
