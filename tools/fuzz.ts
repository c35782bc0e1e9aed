/**
 * `npm run fuzz -- --inputs N --seed S [--target xml|qmp|http]`: feeds random inputs to what reads others' bytes. Without a target all
 * three, one after another, with a third of the inputs each. A target has a process with little memory, and one that says nothing
 * for long is ended: neither memory nor time is without bound. Exit code 1 when an input broke something; it is kept in
 * `test/fixtures/fuzz`, where `npm test` replays it from then on.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const targets = ["xml", "qmp", "http"];
const heapMib = 512;
/** For one batch of 10,000 inputs. */
const silenceMs = 600_000;

const { values } = parseArgs({
  options: {
    inputs: { type: "string", default: "30000" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    target: { type: "string" },
  },
});
const chosen = values.target === undefined ? targets : targets.filter((name) => name === values.target);
const [inputs, seed] = [Number(values.inputs), Number(values.seed)];
if (chosen.length === 0 || !Number.isSafeInteger(inputs) || inputs < 1 || !Number.isSafeInteger(seed)) {
  console.error(`--target is one of ${targets.join(", ")}; --inputs and --seed are numbers`);
  process.exit(2);
}
console.log(`seed ${seed}`);
for (const target of chosen) {
  const failed = await fuzz(target, Math.ceil(inputs / chosen.length));
  if (failed) process.exitCode = 1;
}

function fuzz(target: string, count: number): Promise<boolean> {
  const worker = fileURLToPath(new URL("../test/fuzz/worker.ts", import.meta.url));
  const args = [`--max-old-space-size=${heapMib}`, worker, target, String(count), String(seed)];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    const end = (): void => {
      console.log(`${target}: nothing was heard for ${silenceMs} ms`);
      child.kill("SIGKILL");
    };
    let timer = setTimeout(end, silenceMs);
    child.stdout.on("data", (chunk: Buffer) => {
      process.stdout.write(chunk);
      clearTimeout(timer);
      timer = setTimeout(end, silenceMs);
    });
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      resolve(code !== 0);
    });
  });
}
