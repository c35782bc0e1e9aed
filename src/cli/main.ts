/** qmirror, the command line. */
import { CommanderError, type Command } from "commander";
import { asQmError } from "../base/errors.ts";
import { ApiError } from "../client/api-error.ts";
import type { CliContext } from "./context.ts";
import { exitCodeOf } from "./exit-code.ts";
import { processIo, type CliIo } from "./io.ts";
import { placeNamedArguments } from "./named-arguments.ts";
import { printError } from "./output.ts";
import { configureCommand, createProgram } from "./program.ts";
import { CliSession } from "./session.ts";

/** For the scripts of `qmirror completion`: no command, so that what follows is not parsed. */
const completeWord = "__complete";

/** Runs one command; `argv` is without program names. Resolves to the exit code; every error is printed, none thrown. */
export async function run(argv: readonly string[], io: CliIo): Promise<number> {
  if (argv[0] === completeWord) {
    const { printCompletions } = await import("./complete.ts");
    await printCompletions(argv.slice(1), io);
    return 0;
  }
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
