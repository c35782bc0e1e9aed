/** qmirror, the command line. */
import { Command, CommanderError } from "commander";
import { asQmError } from "../base/errors.ts";
import { ApiError } from "../client/api-error.ts";
import { readPackageVersion } from "../client/package-version.ts";
import { commandTable } from "./command-table.ts";
import type { CliContext } from "./context.ts";
import { exitCodeOf } from "./exit-code.ts";
import { processIo, type CliIo } from "./io.ts";
import { placeNamedArguments } from "./named-arguments.ts";
import { printError } from "./output.ts";
import { CliSession } from "./session.ts";

/** Runs one command; `argv` is without program names. Resolves to the exit code; every error is printed, none thrown. */
export async function run(argv: readonly string[], io: CliIo): Promise<number> {
  const session = new CliSession(io, wantsJson(argv));
  const program = createProgram(io, session.json);
  program.hook("preAction", () => session.open(program.opts<{ connect?: string }>().connect));
  try {
    await program.parseAsync(await prepareArguments(program, argv, session), { from: "user" });
    return session.exitCode;
  } catch (error) {
    // Commander has printed its own errors already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodeOf("QM_INVALID");
    const reported = (error instanceof ApiError ? error : asQmError(error)).toJSON();
    printError(io, reported, session.json);
    return exitCodeOf(reported.code);
  } finally {
    session.close();
  }
}

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
    program.command(name).description(summary).aliases(aliases);
  }
  return program;
}

/** Loads what the command needs and declares its arguments and options. */
export async function configureCommand(command: Command, context: CliContext): Promise<void> {
  const module = await commandTable[command.name()]?.load();
  module?.configure(command, context);
  const names = command.registeredArguments.map((argument) => `--${argument.name()}`);
  if (names.length > 0) command.addHelpText("after", `\nArguments may be given by name too: ${names.join(", ")}`);
}

/** Configures the command that `argv` names, if any, and puts its named arguments in their places. */
async function prepareArguments(program: Command, argv: readonly string[], context: CliContext): Promise<string[]> {
  const place = findOperand(argv, 0);
  const asksForHelp = argv[place] === "help";
  const name = argv[asksForHelp ? findOperand(argv, place + 1) : place] ?? "";
  const command = program.commands.find((known) => known.name() === name || known.aliases().includes(name));
  if (command === undefined) return [...argv];
  await configureCommand(command, context);
  if (asksForHelp) return [...argv];
  return [...argv.slice(0, place + 1), ...placeNamedArguments(command, argv.slice(place + 1))];
}

/** Index of the first word from `start` on that is neither a global option nor its value. */
function findOperand(argv: readonly string[], start: number): number {
  let index = start;
  for (let arg = argv[index]; arg?.startsWith("-") === true; arg = argv[index]) {
    index += arg === "-c" || arg === "--connect" ? 2 : 1;
  }
  return index;
}

/** Needed before the arguments are parsed, since what is wrong with them is reported as JSON too. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return argv.slice(0, end < 0 ? undefined : end).includes("--json");
}

if (import.meta.main) process.exitCode = await run(process.argv.slice(2), processIo());
