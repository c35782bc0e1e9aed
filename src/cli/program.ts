/** The command line's declarations: every command by name, and one of them in full. */
import { Command } from "commander";
import { readPackageVersion } from "../client/package-version.ts";
import { commandTable } from "./command-table.ts";
import type { CliContext, CommandModule } from "./context.ts";
import type { CliIo } from "./io.ts";
import { checkOptionRules } from "./option-rules.ts";
import { printError } from "./output.ts";

/** The program with every command's name and summary; `configureCommand` completes one of them. */
export function createProgram(io: CliIo, json: boolean): Command {
  const program = new Command("qmirror")
    .description("Atomic snapshots and live storage migration for QEMU/KVM virtual machines")
    .usage("[options] <command> [arguments]")
    .version(readPackageVersion(), "-V, --version", "print the version")
    .option("-c, --connect <socket>", "socket of the daemon; none is started then")
    .option("--json", "print JSON: one document, or a line for each change")
    .helpOption("-h, --help", "print help")
    .helpCommand("help [command]", "print help for a command")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => io.stdout.columns,
      getErrHelpWidth: () => io.stderr.columns,
      outputError(text) {
        printError(
          io,
          {
            code: "QM_INVALID",
            message: text
              .replace(/^error: /, "")
              .trim()
              .replace("\n", " "),
          },
          json,
        );
      },
    });
  for (const [name, { summary, aliases = [] }] of Object.entries(commandTable)) {
    program.command(name).summary(summary).description(summary).aliases(aliases);
  }
  return program;
}

/** Loads what the command needs and declares its arguments and options. */
export async function configureCommand(command: Command, context: CliContext): Promise<CommandModule | undefined> {
  const module = await commandTable[command.name()]?.load();
  if (module === undefined) return undefined;
  module.configure(command, context);
  const { rules, description, examples = [] } = module;
  if (description !== undefined) command.description(`${command.summary()}\n\n${description}`);
  if (rules !== undefined) command.hook("preAction", () => checkOptionRules(command, rules));
  const names = command.registeredArguments.map((argument) => `--${argument.name()}`);
  if (names.length > 0) command.addHelpText("after", `\nArguments may be given by name too: ${names.join(", ")}`);
  for (const [line, meaning] of examples) command.addHelpText("after", `\n${meaning}:\n  qmirror ${line}`);
  return module;
}
