/** One fuzzer in a process of its own, for `tools/fuzz.ts`: `worker.ts TARGET INPUTS SEED`. Prints progress; keeps what fails as a fixture. */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { runFuzz } from "./fuzz-target.ts";
import { fuzzTargets } from "./targets.ts";

const batchInputs = 10_000;

const [name = "", inputs, seed] = process.argv.slice(2);
const open = fuzzTargets[name];
if (open === undefined) throw new Error(`no fuzzer is called '${name}'`);
const target = await open();
const startedMs = performance.now();
try {
  process.exitCode = await runBatches(Number(inputs), Number(seed));
} finally {
  await target.close?.();
}

async function runBatches(total: number, firstSeed: number): Promise<number> {
  let peakBytes = 0;
  for (let done = 0; done < total;) {
    const count = Math.min(batchInputs, total - done);
    const batchSeed = firstSeed + done / batchInputs;
    const fault = await runFuzz(target, count, batchSeed);
    if (fault !== undefined) {
      const path = new URL(`../fixtures/fuzz/${name}-${batchSeed}.json`, import.meta.url);
      writeFileSync(path, `${JSON.stringify(fault.input)}\n`);
      console.log(`${name}: ${fault.report}\nkept as ${fileURLToPath(path)}`);
      return 1;
    }
    done += count;
    peakBytes = Math.max(peakBytes, process.memoryUsage().rss);
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
    console.log(`${name}: ${done} inputs, ${seconds} s, ${(peakBytes / 2 ** 20).toFixed(0)} MiB at most`);
  }
  return 0;
}
