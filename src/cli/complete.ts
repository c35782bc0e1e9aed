/** What could stand at the end of a command line that is being written; the shells' scripts ask for it. */
import type { Argument, Command, Option } from "commander";
import { findDaemonPaths } from "../client/daemon-paths.ts";
import { QmirrorClient } from "../client/client.ts";
import { openUnixTransport } from "../client/unix-transport.ts";
import { findCompletionKind, type CompletionKind } from "./completion-kinds.ts";
import type { CliIo } from "./io.ts";
import { configureCommand, createProgram } from "./program.ts";
import { makeSafe } from "./safe-text.ts";
import { CliSession } from "./session.ts";

/** Whoever presses Tab waits no longer than this for the daemon. */
const lookupTimeoutMs = 1000;

interface Candidate {
  readonly word: string;
  readonly meaning?: string;
}

/** What completes a word: some words, or the shell's own knowledge of files. */
type Completion = readonly Candidate[] | "files" | "directories";

interface Place {
  readonly kind: CompletionKind;
  readonly choices?: readonly string[] | undefined;
  /** The domain that the line names before. */
  readonly domain?: string | undefined;
  readonly socket?: string | undefined;
  /** Begins each word: `--from=`. */
  readonly prefix?: string;
}

/**
 * Prints how the last one of `words` (all after the program's name) can go on: first `words`, `files` or `directories`, then a line
 * `word TAB meaning` for each word. Asks a daemon that runs, and starts none. Whatever fails gives fewer words, never an error.
 */
export async function printCompletions(words: readonly string[], io: CliIo): Promise<void> {
  const typed = words.at(-1) ?? "";
  const found = await findCompletions(words.slice(0, -1), typed, io).catch((): Completion => []);
  if (typeof found === "string") return io.stdout.write(`${found}\n`);
  const fitting = found.filter(({ word }) => word.startsWith(typed) && makeSafe(word) === word);
  io.stdout.write(
    ["words", ...fitting.map(({ word, meaning = "" }) => `${word}\t${makeSafe(meaning)}`), ""].join("\n"),
  );
}

async function findCompletions(before: readonly string[], typed: string, io: CliIo): Promise<Completion> {
  const program = createProgram(io, false);
  const rest = [...before];
  let socket: string | undefined;
  while (rest[0]?.startsWith("-") === true) {
    const flag = rest.shift();
    if (flag === "-c" || flag === "--connect") {
      if (rest.length === 0) return "files";
      socket = rest.shift();
    } else if (flag?.startsWith("--connect=") === true) socket = flag.slice("--connect=".length);
  }
  const name = rest.shift();
  if (name === undefined) return typed.startsWith("-") ? listOptions(program, program, []) : listCommands(program);
  if (name === "help") return listCommands(program);
  const command = program.commands.find((known) => known.name() === name || known.aliases().includes(name));
  if (command === undefined) return [];
  await configureCommand(command, new CliSession(io, false));
  const place = findPlace(program, command, rest, typed, socket);
  return place === undefined ? listOptions(program, command, rest) : listWords(program, place, typed, io);
}

/** Undefined where an option is being written. */
function findPlace(
  program: Command,
  command: Command,
  before: readonly string[],
  typed: string,
  connected: string | undefined,
): Place | undefined {
  const named = new Map<string, string>();
  const positional: string[] = [];
  let socket = connected;
  let pending: Option | Argument | undefined;
  let onlyPositional = false;
  for (const word of before) {
    if (pending !== undefined) {
      if (isOption(pending)) socket = pending.long === "--connect" ? word : socket;
      else named.set(pending.name(), word);
      pending = undefined;
    } else if (onlyPositional || !word.startsWith("-") || word === "-") positional.push(word);
    else if (word === "--") onlyPositional = true;
    else if (word.includes("=")) {
      const [flag = "", value = ""] = splitFlag(word);
      const taker = findTaker(program, command, flag);
      if (taker !== undefined && !isOption(taker)) named.set(taker.name(), value);
    } else pending = findTaker(program, command, word);
  }
  const domainAt = command.registeredArguments.findIndex((argument) => argument.name() === "domain");
  const domain = named.get("domain") ?? positional[domainAt];
  const at = (taker: Option | Argument | undefined, prefix = ""): Place => ({
    kind: (taker === undefined ? undefined : kindOf(taker)) ?? "text",
    choices: taker?.argChoices,
    domain,
    socket,
    prefix,
  });
  if (pending !== undefined) return at(pending);
  if (typed.startsWith("-") && !onlyPositional) {
    if (!typed.includes("=")) return undefined;
    const [flag = ""] = splitFlag(typed);
    return at(findTaker(program, command, flag), `${flag}=`);
  }
  const places = command.registeredArguments.filter((argument) => !named.has(argument.name()));
  const last = places.at(-1);
  return at(places[positional.length] ?? (last?.variadic === true ? last : undefined));
}

/** The option that takes a value after `flag`, or the argument that can be given by that name. */
function findTaker(program: Command, command: Command, flag: string): Option | Argument | undefined {
  const option = [...command.options, ...program.options].find(({ long, short }) => flag === long || flag === short);
  if (option !== undefined) return option.required ? option : undefined;
  return command.registeredArguments.find((argument) => flag === `--${argument.name()}`);
}

function isOption(taker: Option | Argument): taker is Option {
  return "flags" in taker;
}

/** By the name within `<…>` of an option's flags, or the argument's; undefined for one that nobody has thought of. */
export function kindOf(taker: Option | Argument): CompletionKind | undefined {
  return isOption(taker)
    ? findCompletionKind(taker.flags.slice(taker.flags.indexOf("<") + 1), false)
    : findCompletionKind(taker.name(), true);
}

function splitFlag(word: string): [flag: string, value: string] {
  const equals = word.indexOf("=");
  return [word.slice(0, equals), word.slice(equals + 1)];
}

function listCommands(program: Command): Candidate[] {
  return program.commands.map((command) => ({ word: command.name(), meaning: command.summary() }));
}

/** Those that are not there yet. */
function listOptions(program: Command, command: Command, before: readonly string[]): Candidate[] {
  const options = command === program ? program.options : [...command.options, ...program.options];
  const isRepeated = (flag: string) => flag !== "--diskspec" && before.includes(flag);
  return [
    ...options.flatMap(({ long, description }) =>
      typeof long !== "string" || isRepeated(long) ? [] : [{ word: long, meaning: description }],
    ),
    { word: "--help", meaning: "print help" },
  ];
}

async function listWords(program: Command, place: Place, typed: string, io: CliIo): Promise<Completion> {
  const { kind, choices, prefix = "" } = place;
  if (choices !== undefined) return choices.map((choice) => ({ word: prefix + choice }));
  if (kind === "text") return [];
  if (kind === "file") return "files";
  if (kind === "directory") return "directories";
  if (kind === "command") return listCommands(program);
  const found = await askDaemon(place, io);
  const listStart = kind === "disk list" ? typed.slice(prefix.length, typed.lastIndexOf(",") + 1) : "";
  return found.map(({ word, meaning = "" }) => ({ word: prefix + listStart + word, meaning }));
}

async function askDaemon({ kind, domain, socket }: Place, io: CliIo): Promise<Candidate[]> {
  const isRoot = process.getuid?.() === 0;
  const { socketPath } = findDaemonPaths(io.env, socket === undefined ? {} : { socketPath: socket }, {
    isRoot,
    cwd: io.cwd,
  });
  const transport = openUnixTransport(socketPath);
  const signal = AbortSignal.timeout(lookupTimeoutMs);
  const client = new QmirrorClient((request) => transport.send({ ...request, signal }));
  try {
    switch (kind) {
      case "domain":
        return (await client.listDomains()).map(({ name, state }) => ({ word: name, meaning: state }));
      case "operation":
        return (await client.listOperations({})).map((one) => ({
          word: one.id,
          meaning: `${one.kind} of ${one.domain}, ${one.state}`,
        }));
      case "snapshot":
        if (domain === undefined) return [];
        return (await client.listSnapshots(domain)).map(({ name, state }) => ({ word: name, meaning: state }));
      default:
        if (domain === undefined) return [];
        return (await client.domainDisks(domain)).map(({ target, chain }) => ({
          word: target,
          meaning: chain[0]?.path ?? "",
        }));
    }
  } finally {
    transport.close();
  }
}
