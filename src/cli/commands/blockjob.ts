import type { Command } from "commander";
import { QmError } from "../../base/errors.ts";
import type { BlockJobView, DiskView, OperationView } from "../../client/index.ts";
import { asyncRefusal, toSpeed } from "../block-options.ts";
import { usageError, type CliContext } from "../context.ts";
import { findDiskTarget } from "../find-disk.ts";
import { reportEnd, waitForAnswer } from "../follow-operation.ts";
import type { OptionRules } from "../option-rules.ts";
import { describeProgress } from "../progress.ts";
import { declareRefused } from "../refused-options.ts";
import { formatCapacity } from "../units.ts";

interface Options {
  readonly info?: true;
  readonly raw?: true;
  readonly bytes?: true;
  readonly abort?: true;
  readonly pivot?: true;
  readonly bandwidth?: string;
}

export const description = `Of a disk: its block job, as virsh shows it. Without one, and for a domain or an operation: the operations that run, and the
mirrors that are kept equal.`;

/** As virsh has it: three modes, --raw implies one of them and --pivot another. */
export const rules: OptionRules = {
  exclusive: [
    ["--info", "--abort", "--bandwidth"],
    ["--info", "--pivot", "--bandwidth"],
    ["--raw", "--abort", "--bandwidth"],
    ["--raw", "--pivot", "--bandwidth"],
  ],
};

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .argument("[path]", "a disk: its target or the path of its active image; or the id of an operation (default: all)")
    .option("--info", "show; the default")
    .option("--raw", "show the disk's job field by field")
    .option("--abort", "give the job up; of an operation: as operation-cancel does")
    .option("--pivot", "switch to the copy that is ready")
    .option("--bandwidth <rate>", "limit it: MiB/s, or with a suffix B, K, M, G; 0: no limit")
    .option("--bytes", "bandwidths without a suffix are in bytes per second")
    .action(async (domain: string, path: string | undefined, options: Options) => {
      const disks = await context.client.domainDisks(domain);
      const word = path && (await findDiskTarget(context, domain, path));
      const isDisk = disks.some(({ target }) => target === word);
      const job = word && isDisk ? await context.client.blockJob(domain, word) : undefined;
      if (job !== undefined) await manageJob(context, domain, job, options);
      else await manageOperations(context, domain, word, disks, options);
    });
  declareRefused(command, { "--async": asyncRefusal });
}

async function manageJob(context: CliContext, domain: string, job: BlockJobView, options: Options): Promise<void> {
  const { client, out } = context;
  const { target } = job;
  const { bytesPerS } = toSpeed(options.bandwidth, options.bytes);
  if (bytesPerS !== undefined) {
    const changed = await client.setBlockJobSpeed(domain, target, bytesPerS);
    if (context.json) out.json(changed);
    return;
  }
  if (options.abort === true || options.pivot === true) {
    const how = options.pivot === true ? "pivot" : "abort";
    const answer = await waitForAnswer(context, domain, (signal) => client.endBlockJob(domain, target, how, signal));
    if (answer !== undefined && reportEnd(context, answer) !== undefined && context.json) out.json(answer);
    return;
  }
  if (context.json) out.json({ job });
  else if (options.raw === true) for (const line of listFields(job, options.bytes)) out.line(line);
  else out.line(describeJob(job));
}

const typeNames: Readonly<Record<BlockJobView["type"], string>> = {
  copy: "Block Copy",
  mirror: "Block Copy",
  commit: "Block Commit",
  "active-commit": "Active Block Commit",
  pull: "Block Pull",
};

function describeJob({ type, state, doneBytes, totalBytes, bytesPerS }: BlockJobView): string {
  const part = totalBytes === 0 ? 0 : doneBytes / totalBytes;
  // Less than all is never shown as 100 %.
  const percent = state === "ready" ? 100 : Math.min(100 * part, 99.99);
  const limit = bytesPerS === 0 ? "" : `    Bandwidth limit: ${bytesPerS} bytes/s (${formatCapacity(bytesPerS)}/s)`;
  return `${typeNames[type]}: [${percent.toFixed(2).padStart(6)} %]${limit}`;
}

function listFields({ type, doneBytes, totalBytes, bytesPerS }: BlockJobView, bytes: true | undefined): string[] {
  const bandwidth = bytes === true ? bytesPerS : Math.floor(bytesPerS / 2 ** 20);
  return [` type=${typeNames[type]}`, ` bandwidth=${bandwidth}`, ` cur=${doneBytes}`, ` end=${totalBytes}`];
}

async function manageOperations(
  context: CliContext,
  domain: string,
  word: string | undefined,
  disks: readonly DiskView[],
  options: Options,
): Promise<void> {
  const { client, out } = context;
  if (options.pivot === true) {
    throw usageError(
      `no block job of ${describeWord(domain, word)} can pivot; snapshot-delete --mirror-pivot ends mirrors`,
    );
  }
  const running = await client.listOperations({ domain, running: true });
  if (word && !disks.some(({ target }) => target === word)) await assertOperation(context, domain, word, disks);
  const operations = running.filter((operation) => !word || concerns(operation, word));
  const mirrored = disks.filter(({ target, mirror }) => mirror !== undefined && (!word || target === word));
  const { bytesPerS } = toSpeed(options.bandwidth, options.bytes);
  if (options.abort === true || bytesPerS !== undefined) {
    const { id } = chooseOne(operations, domain, word);
    const changed = await (bytesPerS === undefined ? client.cancelOperation(id) : client.setSpeed(id, bytesPerS));
    if (context.json) out.json(changed);
    else out.line(bytesPerS === undefined ? `Operation ${id} cancelled` : `Limit of operation ${id} set`);
    return;
  }
  const jobs = word ? [] : await listReadyJobs(context, domain, disks);
  if (context.json) out.json({ operations, disks: mirrored, jobs });
  else showOperations(context, operations, mirrored, jobs, word);
}

/** Jobs that wait for somebody to end them: no operation runs for those. */
async function listReadyJobs({ client }: CliContext, domain: string, disks: readonly DiskView[]) {
  const unmirrored = disks.filter(({ mirror }) => mirror === undefined);
  const jobs = await Promise.all(unmirrored.map(({ target }) => client.blockJob(domain, target)));
  return jobs.flatMap((job) => (job?.state === "ready" && job.operation === undefined ? [job] : []));
}

/** A word that is no disk has to be an operation of the domain. Rejects with `QM_NO_DISK`. */
async function assertOperation({ client }: CliContext, domain: string, word: string, disks: readonly DiskView[]) {
  const known = await client.listOperations({ domain });
  if (known.some(({ id }) => id === word)) return;
  throw new QmError("QM_NO_DISK", { domain, disk: word, disks: disks.map(({ target }) => target).join(", ") });
}

function concerns(operation: OperationView, word: string): boolean {
  return operation.id === word || operation.progress.some(({ target }) => target === word);
}

function chooseOne(operations: readonly OperationView[], domain: string, word: string | undefined): OperationView {
  const [only, ...others] = operations;
  const what = describeWord(domain, word);
  if (only === undefined) {
    throw usageError(
      `no operation is running on ${what}; mirrors that are ready are ended with snapshot-delete --mirror-pivot or --mirror-abort`,
    );
  }
  if (others.length > 0) {
    throw usageError(`several operations are running on ${what}: ${operations.map(({ id }) => id).join(", ")}`);
  }
  return only;
}

function describeWord(domain: string, word: string | undefined): string {
  return word ? `'${word}' of domain '${domain}'` : `domain '${domain}'`;
}

function showOperations(
  { out }: CliContext,
  operations: readonly OperationView[],
  mirrored: readonly DiskView[],
  jobs: readonly BlockJobView[],
  word: string | undefined,
): void {
  if (operations.length === 0 && mirrored.length === 0 && jobs.length === 0) {
    return out.line(word ? `No current block job for ${word}` : "No current block job");
  }
  for (const operation of operations) out.line(`${operation.kind} ${operation.id}: ${describeProgress(operation)}`);
  for (const job of jobs) out.line(`${job.target}: ${describeJob(job)}`);
  if (operations.length + jobs.length > 0 && mirrored.length > 0) out.line("");
  if (mirrored.length > 0) out.table(["Target", "Mirror", "State", "Reason"], mirrored.map(toRow));
}

function toRow({ target, mirror }: DiskView): string[] {
  return [target, mirror?.path ?? "-", mirror?.state ?? "-", mirror?.reason ?? ""];
}
