import type { Command } from "commander";
import type { DepartedDomain, RecoveryFinding, RecoveryView, UnfinishedOperation } from "../../client/index.ts";
import { usageError, type CliContext, type CommandExample } from "../context.ts";
import type { OptionRules } from "../option-rules.ts";
import type { Output } from "../output.ts";
import { formatTime } from "../units.ts";

export const description = `For each operation without an end: what the journal says, what QEMU says, which images hold every write, and what is proposed.
Then what operations that have ended left behind, and transient domains whose QEMU has ended. Nothing is changed without \`--apply\`.

The exit code is 1 when an operation without an end is left that qmirrord is not at.`;

export const rules: OptionRules = { exclusive: [["--apply", "--xml"]], requires: { "--xml": ["--domain"] } };

export const examples: readonly CommandExample[] = [
  ["recover", "show everything"],
  ["recover web --apply", "do what is proposed for this domain"],
  ["recover web --xml", "print the XML of a transient domain whose QEMU has ended, with its true images"],
];

interface Options {
  readonly apply?: true;
  readonly xml?: true;
}

export function configure(command: Command, context: CliContext): void {
  command
    .argument("[domain]", "name or uuid (default: all)")
    .option("--apply", "do what is proposed")
    .option("--xml", "print the last XML of a transient domain whose QEMU has ended, for `create`")
    .action(async (domain: string | undefined, { apply, xml }: Options) => {
      const { client, out } = context;
      const view = await (apply ? client.applyRecovery(domain) : client.showRecovery(domain));
      if (xml) return printXml(context, domain ?? "", view);
      if (view.operations.some(({ action }) => action.kind !== "wait")) context.exitCode = 1;
      if (context.json) return out.json(view);
      for (const { id, kind, domain: name, state, error } of view.applied) {
        out.line(`${kind} ${id} of ${name} ${state}${error === undefined ? "" : `: ${error.message}`}`);
      }
      for (const operation of view.operations) printOperation(out, operation);
      for (const finding of view.findings) printFinding(out, finding);
      // All of them would be many; those of one domain are asked for.
      if (domain === undefined) printDeparted(out, view.departed);
      else for (const departed of view.departed) printDeparture(out, departed);
      const { operations, findings, departed } = view;
      if (operations.length + findings.length === 0 && (domain === undefined || departed.length === 0)) {
        out.line("Every operation has its end, and nothing is left over");
      }
    });
}

function printXml({ json, out }: CliContext, domain: string, { departed: [last] }: RecoveryView): void {
  if (last === undefined) {
    throw usageError(`'${domain}' is no transient domain whose QEMU has ended: \`qmirror dumpxml\` prints its XML`);
  }
  if (json) out.json({ xml: last.xml });
  else out.document(last.xml);
}

function printOperation(
  out: Output,
  { operation, kind, domain, startedAt, journal, qemu, ...rest }: UnfinishedOperation,
) {
  out.line(`${kind} ${operation} of ${domain}, begun ${formatTime(startedAt)}`);
  const decided = journal.decision === undefined ? "nothing is decided" : `the last fact is ${journal.decision}`;
  const records = journal.records.filter(({ kind: name }) => name !== "fact");
  const counted = records.length === 0 ? "" : `; ${records.map(formatRecord).join(", ")}`;
  const process = qemu.pid === undefined ? "" : ` ${qemu.pid}`;
  const jobs = qemu.jobs.map(({ id, status, error }) => `${id} ${status}${error === undefined ? "" : ` (${error})`}`);
  out.record([
    ["  Journal", `in ${journal.step}; ${decided}${journal.undoing ? "; it is being undone" : ""}${counted}`],
    ["  QEMU", `process${process} ${qemu.process}, monitor ${qemu.monitor}`],
    ...qemu.disks.map(({ target, active }): [string, string] => ["", `${target} writes to ${active}`]),
    ...jobs.map((job): [string, string] => ["", `job ${job}`]),
    ...rest.truth.map(({ target, path }, index): [string, string] => [
      index === 0 ? "  Truth" : "",
      `${target} ${path}`,
    ]),
    ["  Action", rest.action.text],
  ]);
  out.line("");
}

function formatRecord({ kind, data }: UnfinishedOperation["journal"]["records"][number]): string {
  return `${kind} ${typeof data === "string" ? data : JSON.stringify(data)}`;
}

function printFinding(out: Output, { domain, text, paths, next }: RecoveryFinding): void {
  out.line(`${domain}: ${text}`);
  out.lines(paths.map((path) => `  ${path}`));
  out.line(`  next: ${next}`);
  out.line("");
}

function printDeparted(out: Output, departed: readonly DepartedDomain[]): void {
  if (departed.length === 0) return;
  out.line("Transient domains whose QEMU has ended; `qmirror recover DOMAIN --xml` prints their XML:");
  out.table(
    ["Name", "UUID", "Ended"],
    departed.map(({ name, uuid, endedAt }) => [name, uuid, formatTime(endedAt)]),
  );
}

function printDeparture(out: Output, { name, endedAt, disks, mirrors, xml }: DepartedDomain): void {
  out.line(`${name} was transient, and its QEMU ended ${formatTime(endedAt)}`);
  out.record([
    ...disks.map(({ target, path }, index): [string, string] => [index === 0 ? "  Truth" : "", `${target} ${path}`]),
    ...mirrors.map((path): [string, string] => ["", `${path} is its mirror, which is not the truth: it may go`]),
    ["  XML", ""],
  ]);
  out.document(xml);
}
