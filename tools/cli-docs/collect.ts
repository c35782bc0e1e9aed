/** The command line as its own declarations describe it. */
import { commandGroups } from "../../src/cli/command-table.ts";
import { processIo } from "../../src/cli/io.ts";
import { describeRules } from "../../src/cli/option-rules.ts";
import { configureCommand, createProgram } from "../../src/cli/program.ts";
import { CliSession } from "../../src/cli/session.ts";
import { daemonOptions } from "../../src/daemon/config.ts";

export interface Entry {
  /** `--from SNAPSHOTNAME`. */
  readonly term: string;
  readonly text: string;
}

export interface CommandReference {
  readonly name: string;
  readonly aliases: readonly string[];
  /** `snapshot-info DOMAIN [SNAPSHOTNAME]`. */
  readonly usage: string;
  /** Each is a sentence or more. */
  readonly paragraphs: readonly string[];
  readonly args: readonly Entry[];
  readonly options: readonly Entry[];
  readonly rules: readonly string[];
  readonly examples: readonly Entry[];
}

export interface Reference {
  readonly globalOptions: readonly Entry[];
  readonly groups: readonly { readonly title: string; readonly commands: readonly CommandReference[] }[];
  readonly daemonOptions: readonly Entry[];
}

export async function collectReference(): Promise<Reference> {
  const io = processIo();
  const program = createProgram(io, false);
  const groups = Object.entries(commandGroups).map(async ([title, commands]) => ({
    title,
    commands: await Promise.all(Object.keys(commands).map((name) => collectCommand(name))),
  }));
  async function collectCommand(name: string): Promise<CommandReference> {
    const command = program.commands.find((one) => one.name() === name);
    if (command === undefined) throw new Error(`no command ${name}`);
    const module = await configureCommand(command, new CliSession(io, false));
    const args = command.registeredArguments.map((argument) => {
      const term = `${upperCase(argument.name())}${argument.variadic ? "..." : ""}`;
      return {
        term,
        place: argument.required ? term : `[${term}]`,
        text: withChoices(argument.description, argument.argChoices),
      };
    });
    return {
      name,
      aliases: command.aliases(),
      usage: [name, ...args.map(({ place }) => place)].join(" "),
      paragraphs: [asSentence(command.summary()), ...splitParagraphs(module?.description ?? "")],
      args: args.map(({ term, text }) => ({ term, text })),
      options: command.options.map(({ flags, mandatory, description, argChoices }) => ({
        term: showFlags(flags),
        text: withChoices(mandatory ? `${description}; required` : description, argChoices),
      })),
      rules: describeRules(module?.rules ?? {}),
      examples: (module?.examples ?? []).map(([line, meaning]) => ({ term: `qmirror ${line}`, text: meaning })),
    };
  }
  return {
    globalOptions: [
      ...program.options.map(({ flags, description }) => ({ term: showFlags(flags), text: description })),
      { term: "-h, --help", text: "print help; of one command, after its name" },
    ],
    groups: await Promise.all(groups),
    daemonOptions: Object.entries<{ value?: string; text: string }>(daemonOptions).map(([name, { value, text }]) => ({
      term: `--${name}${value === undefined ? "" : ` ${value}`}`,
      text,
    })),
  };
}

/** `--from <snapshotname>` as `--from SNAPSHOTNAME`. */
function showFlags(flags: string): string {
  return flags.replace(/<(.*)>/, (_, placeholder: string) => upperCase(placeholder));
}

/** Not the keys of `[,key=value]`. */
function upperCase(placeholder: string): string {
  return placeholder.replaceAll(/[a-z][a-z-]*(?![a-z=-])/g, (word) => word.toUpperCase());
}

function withChoices(text: string, choices: readonly string[] | undefined): string {
  return choices === undefined ? text : `${text}: ${choices.join(", ")}`;
}

function asSentence(summary: string): string {
  return `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`;
}

function splitParagraphs(text: string): string[] {
  return text.split("\n\n").flatMap((paragraph) => {
    const joined = paragraph.replaceAll(/\s+/g, " ").trim();
    return joined === "" ? [] : [joined];
  });
}
