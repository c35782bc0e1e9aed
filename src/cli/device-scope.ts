/** Where a change of devices takes effect: options that the commands for devices share. */
import type { Command } from "commander";
import type { DeviceScope } from "../client/index.ts";
import type { OptionRules } from "./option-rules.ts";

export interface ScopeOptions {
  readonly persistent?: true;
  readonly config?: true;
  readonly live?: true;
  readonly current?: true;
}

export const scopeRules: OptionRules = {
  exclusive: [
    ["--current", "--persistent"],
    ["--current", "--config"],
    ["--current", "--live"],
  ],
};

export function declareScope(command: Command): Command {
  return command
    .option("--persistent", "the definition, and the running domain when it runs")
    .option("--config", "the definition: from the next start on")
    .option("--live", "the running domain")
    .option("--current", "the running domain when it runs, else the definition; the default");
}

export function toDeviceScope({ persistent, config, live }: ScopeOptions): DeviceScope {
  return {
    ...(persistent === true ? { persistent } : {}),
    ...(config === true ? { config } : {}),
    ...(live === true ? { live } : {}),
  };
}
