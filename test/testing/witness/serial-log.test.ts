import assert from "node:assert/strict";
import { appendFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { isQmError } from "../../../src/base/errors.ts";
import { followSerial, readSerialLog } from "../../../src/testing/witness/serial-log.ts";

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "qmirror-serial-"));
  path = join(directory, "serial");
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test("reports are read between other lines, and a cut last line does not count", async () => {
  await writeFile(path, "SeaBIOS\r\nS\r\nW 1 0 900\r\nW 1 1 4100\r\n[ 3.0] kernel talks\r\nW 2 0 700\r\nW 2 1 99");
  assert.deepEqual(await readSerialLog(path), {
    started: true,
    writes: [
      { sequence: 1, disk: 0, latencyUs: 900 },
      { sequence: 1, disk: 1, latencyUs: 4100 },
      { sequence: 2, disk: 0, latencyUs: 700 },
    ],
    acknowledged: new Map([
      [0, 2],
      [1, 1],
    ]),
    maxLatencyUs: 4100,
  });
});

test("following waits for a file that appears later and for lines that come in pieces", async () => {
  const waiting = followSerial(path, 2, AbortSignal.timeout(5000));
  await writeFile(path, "S\r\nW 1 0 10\r\nW 1 ");
  await appendFile(path, "1 20\r\n");
  assert.deepEqual((await waiting).writes.at(-1), { sequence: 1, disk: 1, latencyUs: 20 });
});

test("following ends with the guest's own error", async () => {
  const waiting = followSerial(path, 2, AbortSignal.timeout(5000));
  await writeFile(path, "S\r\nW 1 0 10\r\nE 1 1 5\r\n");
  await assert.rejects(
    waiting,
    (error) => isQmError(error, "QM_IO") && /write 1 to disk 1 failed: errno 5/.test(error.message),
  );
});

test("following can be cancelled and shows the end of the console", async () => {
  await writeFile(path, "Kernel panic\r\n");
  await assert.rejects(
    followSerial(path, 1, AbortSignal.timeout(50)),
    (error) => isQmError(error, "QM_CANCELLED") && error.fields["console"] === "Kernel panic\r\n",
  );
});
