/** The guest decides what its agent says: it can make a command fail, and take no more than its share of memory. */
import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { connectAgent } from "../../src/qmp/agent.ts";
import { LineDecoder } from "../../src/qmp/framing.ts";

test("an answer without end is given up at 4 MiB, and the next command starts afresh", async () => {
  let flood = true;
  const stream: Duplex = new Duplex({
    read: () => undefined,
    write(chunk: Buffer, _encoding, done) {
      const sync = /"id":(\d+)/.exec(chunk.toString())?.[1];
      if (sync !== undefined) stream.push(Buffer.concat([Buffer.of(0xff), Buffer.from(`{"return":${sync}}\n`)]));
      else if (chunk.length > 1 && flood) for (let mib = 0; mib < 5; mib++) stream.push(Buffer.alloc(1024 * 1024, "x"));
      else if (chunk.length > 1) stream.push('{"return":{}}\n');
      done();
    },
  });
  const agent = await connectAgent({ stream });
  await assert.rejects(agent.execute("guest-ping"), { code: "QM_QMP_PROTOCOL", message: /more than 4194304 bytes/ });
  flood = false;
  assert.deepEqual(await agent.execute("guest-ping"), {});
  await agent.close();
});

test("a line that comes byte by byte takes the memory of its bytes, not of its pieces", () => {
  const sizeBytes = 1_000_000;
  const decoder = new LineDecoder(sizeBytes);
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  const before = process.memoryUsage();
  for (let at = 0; at < sizeBytes; at++) for (const line of decoder.push(Uint8Array.of(0x61))) assert.fail(line);
  collect();
  const after = process.memoryUsage();
  const grownBytes = after.heapUsed + after.external - before.heapUsed - before.external;
  assert.ok(grownBytes < 20 * sizeBytes, `${grownBytes} bytes`);
  assert.deepEqual([...decoder.push(Buffer.from("\n"))], ["a".repeat(sizeBytes)]);
});
