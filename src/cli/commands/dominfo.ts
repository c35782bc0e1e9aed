import type { Command } from "commander";
import type { CliContext } from "../context.ts";

export function configure(command: Command, context: CliContext): void {
  command.argument("<domain>", "name or uuid").action(async (domain: string) => {
    const { client, out } = context;
    const info = await client.domainInfo(domain);
    if (context.json) return out.json(info);
    out.record([
      ["Id", info.id === null ? "-" : String(info.id)],
      ["Name", info.name],
      ["UUID", info.uuid],
      ["OS Type", info.osType],
      ["State", info.state],
      ["CPU(s)", String(info.vcpus)],
      ...(info.cpuTimeNs === undefined ? [] : [["CPU time", `${(info.cpuTimeNs / 1e9).toFixed(1)}s`] as const]),
      ["Max memory", formatKib(info.maxMemoryBytes)],
      ["Used memory", formatKib(info.usedMemoryBytes)],
      ["Persistent", info.persistent ? "yes" : "no"],
      ["Autostart", info.autostart ? "enable" : "disable"],
      ["Managed save", info.managedSave ? "yes" : "no"],
    ]);
  });
}

function formatKib(sizeBytes: number): string {
  return `${Math.floor(sizeBytes / 1024)} KiB`;
}
