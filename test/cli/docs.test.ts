import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { configureCommand, createProgram } from "../../src/cli/main.ts";
import { CliSession } from "../../src/cli/session.ts";
import { daemonUsage } from "../../src/daemon/config.ts";
import { createIo } from "./run-cli.ts";

const docs = readFileSync(new URL("../../docs/reference/cli.md", import.meta.url), "utf8");
const sections = new Map(
  docs
    .split(/^### /m)
    .slice(1)
    .map((section) => [/^`([^\s`]+)/.exec(section)?.[1] ?? "", section.split(/^## /m)[0] ?? ""]),
);

test("docs/reference/cli.md has a section for each command, with exactly its arguments and options", async () => {
  const io = createIo();
  const program = createProgram(io, false);
  assert.deepEqual(
    [...sections.keys()].toSorted(),
    [...program.commands.map((one) => one.name()), "qmirrord"].toSorted(),
  );
  for (const command of program.commands) {
    await configureCommand(command, new CliSession(io, false));
    const section = sections.get(command.name()) ?? "";
    const usage = section.split("\n")[0] ?? "";
    const documented = [...section.matchAll(/^- `(--[a-z-]+)/gm)].map(([, flag]) => flag);
    assert.deepEqual(
      documented,
      command.options.map(({ long }) => long),
      command.name(),
    );
    for (const argument of command.registeredArguments) {
      const shown = argument.required ? argument.name() : `[${argument.name()}]`;
      assert.ok(usage.toLowerCase().includes(shown), `${command.name()}: ${shown} in its heading`);
    }
  }
});

test("docs/reference/cli.md has the daemon's options", () => {
  const flags = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, flag]) => flag);
  assert.deepEqual(
    flags(sections.get("qmirrord") ?? "", /^- `(--[a-z-]+)/gm),
    flags(daemonUsage, /^ {2}(--[a-z-]+)/gm),
  );
});
