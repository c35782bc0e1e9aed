/**
 * `npm run crash`: kills the daemon, QEMU, `qemu-img` or two of them in the middle of operations, lets qmirror recover, and looks
 * whether anything is lost, split, damaged or left over. Domains have no guest; a scripted writer writes through their devices.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { runCampaign, type CampaignOptions } from "./campaign.ts";
import { operationNames } from "./operations.ts";
import { formatReport } from "./report.ts";

const usage =
  "usage: node crash/main.ts [--runs 100] [--seed S] [--first 0] [--jobs 2] [--json] [--only OPERATION]\n" +
  `OPERATION: ${operationNames.join("; ")}\n`;

function parseOptions(argv: readonly string[]): CampaignOptions & { json: boolean } {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      runs: { type: "string", default: "100" },
      seed: { type: "string", default: "1" },
      first: { type: "string", default: "0" },
      jobs: { type: "string", default: String(Math.min(2, availableParallelism())) },
      json: { type: "boolean", default: false },
      only: { type: "string" },
    },
  });
  const only = operationNames.find((name) => name === values.only);
  if (values.only !== undefined && only === undefined) throw new TypeError(`unknown operation '${values.only}'`);
  return {
    runs: parseCount(values.runs, 1),
    seed: parseCount(values.seed, 0),
    first: parseCount(values.first, 0),
    jobs: parseCount(values.jobs, 1),
    json: values.json,
    ...(only === undefined ? {} : { only }),
  };
}

function parseCount(text: string, least: number): number {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < least) throw new TypeError(`'${text}' is no count`);
  return count;
}

async function main(): Promise<void> {
  let options;
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${usage}`);
    process.exitCode = 2;
    return;
  }
  const interrupted = new AbortController();
  // What is under way comes to its end, which takes seconds; the next signal has its default effect.
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => interrupted.abort());
  const report = await runCampaign(
    options,
    interrupted.signal,
    ({ run, operation, victim, point, tookMs, answer, failures }) => {
      const verdict =
        failures.length === 0 ? "ok" : `FAILED: ${failures.map(({ kind, what }) => `${kind}: ${what}`).join("; ")}`;
      process.stderr.write(`${run} ${operation}, ${victim} at ${point}, ${tookMs} ms, ${answer}: ${verdict}\n`);
    },
  );
  process.stdout.write(`${options.json ? JSON.stringify(report, null, 2) : formatReport(report)}\n`);
  if (report.failed.length > 0) process.exitCode = 1;
  if (interrupted.signal.aborted) process.exitCode = 130;
}

await main();
