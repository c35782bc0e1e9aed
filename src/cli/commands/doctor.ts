import type { Command } from "commander";
import type { CliContext } from "../context.ts";

export const description = "The exit code is 1 when a check failed.";

export function configure(command: Command, context: CliContext): void {
  command.action(async () => {
    const { client, out } = context;
    const checks = await client.doctor();
    if (checks.some(({ verdict }) => verdict === "failed")) context.exitCode = 1;
    if (context.json) return out.json(checks);
    const width = Math.max(...checks.map(({ name }) => name.length));
    for (const { name, verdict, detail, next } of checks) {
      out.line(`${verdict.padEnd(7)}  ${name.padEnd(width)}  ${detail}`);
      if (next !== undefined) out.line(`${" ".repeat(9)}${" ".repeat(width)}  next: ${next}`);
    }
  });
}
