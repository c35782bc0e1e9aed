import type { CommandReference, Entry, Reference } from "./collect.ts";
import { conventions, daemonText, environment, exitStatus, files, introduction, type Section } from "./texts.ts";

/** `docs/reference/cli.md`, before prettier. */
export function formatMarkdown(reference: Reference): string {
  return [
    "# Command line",
    "Generated from the commands' declarations in `src/cli` by `tools/cli-docs.ts`: do not edit. The man pages in `docs/man` are too.",
    ...introduction,
    "Options of every command:",
    formatEntries(reference.globalOptions),
    ...[conventions, exitStatus, environment, files].map(formatSection),
    ...reference.groups.flatMap(({ title, commands }) => [`## ${title}`, ...commands.map(formatCommand)]),
    "## The daemon",
    "### `qmirrord`",
    ...daemonText.paragraphs,
    formatEntries(reference.daemonOptions),
  ].join("\n\n");
}

function formatCommand(command: CommandReference): string {
  const { usage, aliases, paragraphs, args, options, rules, examples } = command;
  return [
    `### \`${usage}\``,
    ...paragraphs.map((text) => markFlags(escapeText(text))),
    ...(aliases.length === 0 ? [] : [`Also called ${aliases.map((alias) => `\`${alias}\``).join(", ")}.`]),
    formatEntries([...args, ...options]),
    ...(rules.length === 0 ? [] : [rules.map(markFlags).join(" ")]),
    ...examples.map(({ term, text }) => `${escapeText(text)}:\n\n\`\`\`sh\n${term}\n\`\`\``),
  ]
    .filter((part) => part !== "")
    .join("\n\n");
}

function formatSection({ title, paragraphs, entries = [] }: Section): string {
  return [`## ${title}`, ...paragraphs, formatEntries(entries)].filter((part) => part !== "").join("\n\n");
}

function formatEntries(entries: readonly Entry[]): string {
  return entries.map(({ term, text }) => `- \`${term}\`: ${markFlags(escapeText(text))}`).join("\n");
}

function markFlags(text: string): string {
  return text.replaceAll(/(?<![`-])--[a-z][a-z-]*/g, "`$&`");
}

/** `<` would begin an HTML tag. */
function escapeText(text: string): string {
  return text.replaceAll("<", "\\<");
}
