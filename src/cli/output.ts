/** What commands print: tables as virsh has them, plain lines, JSON, errors. */
import type { CliIo } from "./io.ts";
import { makeLinesSafe, makeSafe, toSafeJson } from "./safe-text.ts";

export interface Output {
  /** One line on stdout; made safe. */
  line(text: string): void;
  /** The same for many, written together. */
  lines(texts: Iterable<string>): void;
  /** A table with a rule below its head, then an empty line. */
  table(head: readonly string[], rows: readonly (readonly string[])[]): void;
  /** `label:  value` lines; without a label the value goes on. */
  record(pairs: readonly (readonly [string, string])[]): void;
  /** Text of several lines, byte for byte unless a terminal reads it. */
  document(text: string): void;
  /** One JSON document on one line. */
  json(value: unknown): void;
}

export function createOutput(io: CliIo): Output {
  const print = (text: string) => io.stdout.write(`${text}\n`);
  return {
    line: (text) => print(makeSafe(text)),
    lines(texts) {
      const text = Array.from(texts, (line) => `${makeSafe(line)}\n`).join("");
      if (text !== "") io.stdout.write(text);
    },
    table: (head, rows) => print(`${formatTable(head, rows)}\n`),
    record(pairs) {
      const width = Math.max(...pairs.map(([label]) => label.length)) + 1;
      for (const [label, value] of pairs) {
        const head = label === "" ? "" : `${label}:`;
        print(`${head.padEnd(Math.max(width, 15))} ${makeSafe(value)}`.trimEnd());
      }
    },
    document: (text) => io.stdout.write(io.stdout.isTty ? makeLinesSafe(text) : text),
    json: (value) => print(toSafeJson(value)),
  };
}

/** virsh's layout: a space before each line, three between columns, no space at its end. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map(makeSafe));
  const widths = head.map((_, column) =>
    cells.reduce((width, row) => Math.max(width, countCharacters(row[column] ?? "")), 0),
  );
  const lines = cells.map((row) =>
    ` ${row.map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - countCharacters(cell))).join("   ")}`.trimEnd(),
  );
  const rule = "-".repeat(widths.reduce((sum, width) => sum + width + 3, 0));
  return [lines[0], rule, ...lines.slice(1)].join("\n");
}

export interface ReportedError {
  readonly code: string;
  readonly message: string;
  readonly next?: string | undefined;
}

/** `error: …` and `next: …` on stderr, or one JSON line there. */
export function printError(io: CliIo, error: ReportedError, json: boolean): void {
  if (json) {
    io.stderr.write(`${toSafeJson({ error })}\n`);
    return;
  }
  io.stderr.write(`error: ${makeSafe(error.message)}\n`);
  if (error.next !== undefined) io.stderr.write(`next: ${makeSafe(error.next)}\n`);
}

function countCharacters(text: string): number {
  return [...text].length;
}
