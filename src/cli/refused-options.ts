/** Options of virsh that cannot be honoured: declared all the same, so that the reference and the error say why. */
import type { Command } from "commander";
import { QmError } from "../base/errors.ts";

/** Flags as commander has them, each with why it is refused. */
export type RefusedOptions = Readonly<Record<string, string>>;

/** Declares them; giving one is `QM_UNSUPPORTED`, before the command acts. */
export function declareRefused(command: Command, refused: RefusedOptions): Command {
  for (const [flags, reason] of Object.entries(refused)) command.option(flags, `refused: ${reason}`);
  return command.hook("preAction", () => {
    for (const [flags, reason] of Object.entries(refused)) {
      const long = flags.split(" ")[0] ?? flags;
      const name = command.options.find((option) => option.long === long)?.attributeName();
      if (name !== undefined && command.getOptionValue(name) !== undefined) {
        throw new QmError("QM_UNSUPPORTED", { what: long, detail: `: ${reason}` });
      }
    }
  });
}
