/**
 * Many power failures: `node test/host-crash/main.ts --runs N --seed S [--only VERB]`. A table by operation and point; a line with
 * what replays it for each failure. Exit status 1 when there was one.
 */
import { parseArgs } from "node:util";
import { fileSystems, reasonAgainst } from "./crash-disk.ts";
import { drawCrash } from "./draw.ts";
import type { Findings } from "./examine.ts";
import { runCrash } from "./run-crash.ts";
import { verbNames, type VerbName } from "./verbs.ts";

const { values } = parseArgs({
  options: { runs: { type: "string" }, seed: { type: "string" }, first: { type: "string" }, only: { type: "string" } },
});
const [runs, seed, first] = [Number(values.runs ?? 20), Number(values.seed ?? 1), Number(values.first ?? 0)];
const only = verbNames.filter((name) => values.only === undefined || name === values.only);
const reason = (await Promise.all(fileSystems.map(reasonAgainst))).find((why) => why !== undefined);
if (reason !== undefined || only.length === 0) {
  console.error(reason ?? `no such operation: ${values.only}`);
  process.exit(2);
}

const done: { verb: VerbName; outcome: Findings }[] = [];
let failures = 0;
for (let index = first; index < first + runs; index++) {
  const crash = drawCrash(seed, index, only);
  const label = `run ${index} ${crash.verb} ${crash.fileSystem} ${crash.layout} ${crash.cache} ${JSON.stringify(crash.die)}`;
  const failuresBefore = failures;
  try {
    const outcome = await runCrash(crash);
    done.push({ verb: crash.verb, outcome });
    const { point, ended, leaks, leftovers, problems } = outcome;
    console.log(
      `${label}: at ${point}, ${ended}, ${leaks} leaks, ${leftovers.length} left over ${leftovers.join(" ")}`,
    );
    for (const problem of problems) console.log(`  FAILED ${problem}`);
    if (problems.length > 0) failures++;
  } catch (error) {
    failures++;
    console.log(`${label}: FAILED to run: ${error instanceof Error ? error.stack : String(error)}`);
  }
  if (failures > failuresBefore)
    console.log(`  replay: --seed ${seed} --first ${index} --runs 1${replayOnly(values.only)}`);
}

const keys = [...new Set(done.map(({ verb, outcome }) => `${verb} | ${outcome.point}`))].toSorted();
console.log(
  "\n| operation | point | runs | failed | answers changed | leaked clusters | left over files |\n| --- | --- | --- | --- | --- | --- | --- |",
);
for (const key of keys) {
  const some = done.filter(({ verb, outcome }) => `${verb} | ${outcome.point}` === key).map(({ outcome }) => outcome);
  const sum = (count: (outcome: Findings) => number): number => some.reduce((total, one) => total + count(one), 0);
  const failed = sum(({ problems }) => Math.sign(problems.length));
  console.log(
    `| ${key} | ${some.length} | ${failed} | ${sum(({ answerChanged }) => Number(answerChanged))} | ${sum(({ leaks }) => leaks)} | ${sum(({ leftovers }) => leftovers.length)} |`,
  );
}
console.log(`\n${runs} runs, seed ${seed}: ${failures} failed`);
process.exitCode = failures > 0 ? 1 : 0;

function replayOnly(verb: string | undefined): string {
  return verb === undefined ? "" : ` --only ${verb}`;
}
