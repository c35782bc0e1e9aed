import { Option } from "commander";

/** An option whose name begins with `--no-` and is one of its own, as in virsh: commander would make it the end of another. */
export function plainOption(flags: string, description: string): Option {
  const option = new Option(flags, description);
  option.negate = false;
  return option;
}
