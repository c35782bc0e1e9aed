/** Man pages, with the `man` macros. */
import type { CommandReference, Entry, Reference } from "./collect.ts";
import {
  conventions,
  daemonEnvironment,
  daemonText,
  environment,
  exitStatus,
  files,
  introduction,
  type Section,
} from "./texts.ts";

const notice = String.raw`.\" Generated from the commands' declarations by tools/cli-docs.ts: do not edit.`;

/** `qmirror.1`. */
export function formatClientPage(reference: Reference): string {
  return joinLines([
    notice,
    '.TH QMIRROR 1 "" "qmirror" "User Commands"',
    ".SH NAME",
    `qmirror \\- ${escapeText("atomic snapshots and live storage migration for QEMU/KVM virtual machines")}`,
    ".SH SYNOPSIS",
    ".B qmirror",
    escapeText("[options] command [arguments]"),
    ".SH DESCRIPTION",
    ...formatParagraphs(introduction),
    ".SH OPTIONS",
    ...formatEntries(reference.globalOptions),
    ...formatSection(conventions),
    ...reference.groups.flatMap(({ title, commands }) => [
      `.SH ${escapeText(`${title} commands`.toUpperCase())}`,
      ...commands.flatMap(formatCommand),
    ]),
    ...[exitStatus, environment, files].flatMap(formatSection),
    ".SH SEE ALSO",
    String.raw`.BR qmirrord (8), virsh (1), qemu\-img (1)`,
  ]);
}

/** `qmirrord.8`. */
export function formatDaemonPage(reference: Reference): string {
  return joinLines([
    notice,
    '.TH QMIRRORD 8 "" "qmirror" "System Administration"',
    ".SH NAME",
    String.raw`qmirrord \- daemon for snapshots and live storage migration of QEMU/KVM virtual machines`,
    ".SH SYNOPSIS",
    ".B qmirrord",
    "[options]",
    ".SH DESCRIPTION",
    ...formatParagraphs(daemonText.paragraphs),
    ".SH OPTIONS",
    ...formatEntries(reference.daemonOptions),
    ...[daemonText.exitStatus, daemonEnvironment, files].flatMap(formatSection),
    ".SH SEE ALSO",
    ".BR qmirror (1)",
  ]);
}

function formatCommand(command: CommandReference): string[] {
  const { usage, aliases, paragraphs, args, options, rules, examples } = command;
  return [
    `.SS ${escapeText(usage)}`,
    ...formatParagraphs(paragraphs),
    ...(aliases.length === 0 ? [] : formatParagraphs([`Also called ${aliases.join(", ")}.`])),
    ...formatEntries([...args, ...options]),
    ...formatParagraphs(rules.length === 0 ? [] : [rules.join(" ")]),
    ...examples.flatMap(({ term, text }) => [
      ...formatParagraphs([`${text}:`]),
      ".PP",
      ".RS",
      ".nf",
      escapeText(term),
      ".fi",
      ".RE",
    ]),
  ];
}

function formatSection({ title, paragraphs, entries = [] }: Section): string[] {
  return [`.SH ${escapeText(title.toUpperCase())}`, ...formatParagraphs(paragraphs), ...formatEntries(entries)];
}

function formatParagraphs(paragraphs: readonly string[]): string[] {
  return paragraphs.flatMap((text) => [".PP", escapeText(text)]);
}

function formatEntries(entries: readonly Entry[]): string[] {
  return entries.flatMap(({ term, text }) => [".TP", `\\fB${escapeText(term)}\\fR`, escapeText(text)]);
}

/** One line of text: nothing in it is a request, hyphens can be copied, backquotes are bold. */
function escapeText(text: string): string {
  const escaped = text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("'", "\\(aq")
    .replaceAll("~", "\\(ti")
    .replaceAll("…", "\\[u2026]")
    .replaceAll(/`([^`]*)`/g, "\\fB$1\\fR");
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}

function joinLines(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}
