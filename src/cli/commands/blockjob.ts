import type { Command } from "commander";
import type { DiskView, OperationView } from "../../client/index.ts";
import { usageError, type CliContext } from "../context.ts";
import { describeProgress } from "../progress.ts";
import { parseBandwidth } from "../units.ts";

interface Options {
  readonly info?: true;
  readonly abort?: true;
  readonly bandwidth?: number;
}

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .argument("[job]", "a disk, or the id of an operation (default: all)")
    .option("--info", "show; the default")
    .option("--abort", "cancel the operation, as operation-cancel does")
    .option(
      "--bandwidth <rate>",
      "limit the operation: MiB/s, or with a suffix B, K, M, G; 0: no limit",
      parseBandwidth,
    )
    .action(async (domain: string, job: string | undefined, options: Options) => {
      if (Object.keys(options).length > 1) throw usageError("--info, --abort and --bandwidth exclude each other");
      const { client, out } = context;
      const [disks, running] = await Promise.all([
        client.domainDisks(domain),
        client.listOperations({ domain, running: true }),
      ]);
      const operations = running.filter((operation) => !job || concerns(operation, job));
      const mirrored = disks.filter(({ target, mirror }) => mirror !== undefined && (!job || target === job));
      if (options.abort === true || options.bandwidth !== undefined) {
        const { id } = chooseOne(operations, domain, job);
        const changed = await (options.bandwidth === undefined
          ? client.cancelOperation(id)
          : client.setSpeed(id, options.bandwidth));
        if (context.json) out.json(changed);
        else out.line(options.bandwidth === undefined ? `Operation ${id} cancelled` : `Limit of operation ${id} set`);
      } else if (context.json) out.json({ operations, disks: mirrored });
      else showJobs(context, operations, mirrored);
    });
}

function concerns(operation: OperationView, job: string): boolean {
  return operation.id === job || operation.progress.some(({ target }) => target === job);
}

function chooseOne(operations: readonly OperationView[], domain: string, job: string | undefined): OperationView {
  const [only, ...others] = operations;
  const what = job ? `'${job}' of domain '${domain}'` : `domain '${domain}'`;
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

function showJobs({ out }: CliContext, operations: readonly OperationView[], mirrored: readonly DiskView[]): void {
  if (operations.length === 0 && mirrored.length === 0) return out.line("No current block job");
  for (const operation of operations) out.line(`${operation.kind} ${operation.id}: ${describeProgress(operation)}`);
  if (operations.length > 0 && mirrored.length > 0) out.line("");
  if (mirrored.length > 0) out.table(["Target", "Mirror", "State", "Reason"], mirrored.map(toRow));
}

function toRow({ target, mirror }: DiskView): string[] {
  return [target, mirror?.path ?? "-", mirror?.state ?? "-", mirror?.reason ?? ""];
}
