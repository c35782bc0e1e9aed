import { Argument, type Command } from "commander";
import { completionScripts, shells, type Shell } from "../completion-scripts.ts";
import type { CliContext, CommandExample } from "../context.ts";

export const description = `The script completes commands and options; and domains, snapshots, disks and operations, if a daemon runs: none is started.`;

export const examples: readonly CommandExample[] = [
  ["completion bash > ~/.local/share/bash-completion/completions/qmirror", "Install it for bash"],
  ["completion zsh > ~/.zfunc/_qmirror", "Install it for zsh, where $fpath has ~/.zfunc"],
  ["completion fish > ~/.config/fish/completions/qmirror.fish", "Install it for fish"],
];

export function configure(command: Command, context: CliContext): void {
  command.addArgument(new Argument("<shell>", "the shell").choices(shells)).action((shell: Shell) => {
    const script = completionScripts[shell];
    if (context.json) context.out.json({ shell, script });
    else context.out.document(script);
  });
}
