import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { errorRegistry } from "../../src/base/error-registry.ts";
import { commandTable } from "../../src/cli/command-table.ts";
import { interruptedExitCode } from "../../src/cli/interrupt.ts";
import { describeRules, listRuleWords } from "../../src/cli/option-rules.ts";
import { configureCommand, createProgram } from "../../src/cli/program.ts";
import { CliSession } from "../../src/cli/session.ts";
import { daemonOptions, daemonUsage } from "../../src/daemon/config.ts";
import { collectReference } from "../../tools/cli-docs/collect.ts";
import { formatClientPage, formatDaemonPage } from "../../tools/cli-docs/man.ts";
import { formatMarkdown } from "../../tools/cli-docs/markdown.ts";
import { exitStatus } from "../../tools/cli-docs/texts.ts";
import { createIo } from "./run-cli.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

test("the reference has each command with all its arguments, options and rules, as they are declared", async () => {
  const reference = await collectReference();
  const documented = reference.groups.flatMap(({ commands }) => commands);
  assert.deepEqual(documented.map(({ name }) => name).toSorted(), Object.keys(commandTable).toSorted());
  const io = createIo();
  const program = createProgram(io, false);
  const [markdown, page] = [formatMarkdown(reference), unescapeMan(formatClientPage(reference))];
  for (const { name, usage, args, options, rules } of documented) {
    const command = program.commands.find((one) => one.name() === name);
    assert.ok(command !== undefined);
    const module = await configureCommand(command, new CliSession(io, false));
    assert.deepEqual(
      args.map(({ text }) => text.split(": ")[0]),
      command.registeredArguments.map(({ description }) => description.split(": ")[0]),
    );
    assert.deepEqual(
      options.map(({ term }) => term.split(" ")[0]),
      command.options.map(({ long }) => long),
    );
    assert.deepEqual(rules, describeRules(module?.rules ?? {}));
    assert.ok(markdown.includes(`\n### \`${usage}\`\n`), usage);
    assert.ok(page.includes(`\n.SS ${usage}\n`), usage);
    for (const { term, text } of [...args, ...options]) {
      assert.notEqual(text, "", `${name} ${term} is described`);
      assert.ok(markdown.includes(`\n- \`${term}\`: `), term);
      assert.ok(page.includes(`\n.TP\n${term}\n${text.replaceAll("`", "")}\n`), `${name} ${term}`);
    }
  }
});

test("rules name options and arguments that their command has", async () => {
  const io = createIo();
  const program = createProgram(io, false);
  for (const command of program.commands) {
    const module = await configureCommand(command, new CliSession(io, false));
    const known = [
      ...command.options.map(({ long }) => long),
      ...command.registeredArguments.map((argument) => `--${argument.name()}`),
    ];
    for (const word of listRuleWords(module?.rules ?? {})) assert.ok(known.includes(word), `${command.name()} ${word}`);
  }
});

test("examples are command lines that their command takes", async () => {
  const io = createIo();
  const program = createProgram(io, false);
  for (const command of program.commands) {
    const module = await configureCommand(command, new CliSession(io, false));
    const flags = [
      ...[...command.options, ...program.options].map(({ long }) => long),
      ...command.registeredArguments.map((argument) => `--${argument.name()}`),
    ];
    for (const [line] of module?.examples ?? []) {
      assert.ok(line === command.name() || line.startsWith(`${command.name()} `), line);
      for (const [flag] of line.matchAll(/(?<= )--[a-z-]+/g)) assert.ok(flags.includes(flag), line);
    }
  }
});

test("the daemon's page has the options that its usage has", async () => {
  const page = unescapeMan(formatDaemonPage(await collectReference()));
  for (const [name, { text }] of Object.entries(daemonOptions)) {
    assert.match(daemonUsage, new RegExp(`^ {2}--${name} `, "m"));
    assert.ok(page.includes(`${text}\n`), name);
  }
});

test("the reference has every exit code", () => {
  const codes = Object.values(errorRegistry).map(({ exit }) => exit);
  assert.deepEqual(
    exitStatus.entries?.map(({ term }) => Number(term)),
    [...new Set([0, ...codes, interruptedExitCode])].toSorted((a, b) => a - b),
  );
});

for (const page of ["qmirror.1", "qmirrord.8"]) {
  test(`${page} is a man page that groff has nothing to say about`, () => {
    const path = `${root}docs/man/${page}`;
    assert.match(readFileSync(path, "utf8"), /^\.SH SYNOPSIS$/m);
    let rendered: string;
    try {
      rendered = execFileSync("groff", ["-man", "-ww", "-Tutf8", path], { encoding: "utf8", stdio: "pipe" });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw error;
    }
    // Letters are printed over themselves to make them bold.
    assert.ok(rendered.replaceAll(/.[\b]/g, "").includes("--version"));
  });
}

function unescapeMan(page: string): string {
  return page
    .replaceAll(/\\f[BR]/g, "")
    .replaceAll("\\-", "-")
    .replaceAll("\\(aq", "'")
    .replaceAll("\\(ti", "~")
    .replaceAll("\\[u2026]", "…")
    .replaceAll("\\&", "");
}
