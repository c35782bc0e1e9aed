import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { createServer } from "node:net";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { commandTable } from "../../src/cli/command-table.ts";
import { completionScripts, shells, type Shell } from "../../src/cli/completion-scripts.ts";
import { kindOf } from "../../src/cli/complete.ts";
import { configureCommand, createProgram } from "../../src/cli/program.ts";
import { CliSession } from "../../src/cli/session.ts";
import { serve } from "../http/serve.ts";
import { createIo, runCli } from "./run-cli.ts";

const run = promisify(execFile);
const launcher = fileURLToPath(new URL("../../bin/qmirror", import.meta.url));

/** A daemon with two domains, of which `vm` has the snapshots `s1` and `with space:and,more`. */
async function serveDomains() {
  const s = await serve();
  s.facade.addDomain("vm");
  s.facade.addDomain("win'dows 11", { id: null, state: "shut off" });
  await s.facade.createSnapshot("vm", { name: "s1" });
  await s.facade.createSnapshot("vm", { name: "with space:and,more" });
  const env = { ...process.env, QMIRROR_SOCKET: s.socketPath };
  return { ...s, env, [Symbol.asyncDispose]: () => s[Symbol.asyncDispose]() };
}

/** The first line of the answer, and its words. */
async function complete(env: NodeJS.ProcessEnv, ...words: string[]): Promise<[kind: string, ...words: string[]]> {
  const { code, stdout, stderr } = await runCli(["__complete", ...words], createIo({ env, cwd: tmpdir() }));
  assert.deepEqual([code, stderr], [0, ""]);
  const [kind = "", ...lines] = stdout.trimEnd().split("\n");
  return [kind, ...lines.map((line) => line.split("\t")[0] ?? "")];
}

test("commands, options and choices are completed without a daemon", async () => {
  const env = { QMIRROR_STATE_DIR: "/nonexistent" };
  assert.deepEqual(await complete(env, "snapshot-cre"), ["words", "snapshot-create", "snapshot-create-as"]);
  assert.deepEqual(await complete(env, "--js"), ["words", "--json"]);
  assert.deepEqual(await complete(env, "help", "snapshot-mi"), ["words", "snapshot-mirror"]);
  assert.deepEqual(await complete(env, "completion", ""), ["words", ...shells]);
  assert.deepEqual(await complete(env, "snapshot-list", "vm", "--no-l"), ["words", "--no-leaves"]);
  assert.deepEqual(await complete(env, "snapshot-list", "vm", "--tree", "--tr"), ["words"]);
  assert.deepEqual(await complete(env, "snapshot-create", "vm", ""), ["files"]);
  assert.deepEqual(await complete(env, "migrate-storage", "vm", "--to", "/t"), ["directories"]);
  assert.deepEqual(await complete(env, "--connect", ""), ["files"]);
  assert.deepEqual(await complete(env, "no-such-command", ""), ["words"]);
  assert.deepEqual(await complete(env, "start", ""), ["words"]);
});

test("domains, snapshots, disks and operations come from the daemon", async () => {
  await using s = await serveDomains();
  const of = (...words: string[]) => complete(s.env, ...words);
  assert.deepEqual(await of("start", ""), ["words", "vm", "win'dows 11"]);
  assert.deepEqual(await of("start", "--domain", "v"), ["words", "vm"]);
  assert.deepEqual(await of("start", "--domain=v"), ["words", "--domain=vm"]);
  assert.deepEqual(await of("snapshot-info", "vm", ""), ["words", "s1", "with space:and,more"]);
  assert.deepEqual(await of("snapshot-info", "--domain", "vm", "s"), ["words", "s1"]);
  assert.deepEqual(await of("snapshot-info", "--snapshotname", "s1", ""), ["words", "vm", "win'dows 11"]);
  assert.deepEqual(await of("snapshot-list", "vm", "--from=s"), ["words", "--from=s1"]);
  assert.deepEqual(await of("snapshot-info", "none", ""), ["words"]);
  assert.deepEqual(await of("snapshot-info", "vm", "s1", ""), ["words"]);
  const disks = (await s.facade.domainDisks("vm")).map(({ target }) => target);
  assert.deepEqual(await of("blockjob", "vm", ""), ["words", ...disks]);
  assert.deepEqual(await of("clone-storage", "vm", "--disk", "vda,vd"), [
    "words",
    ...disks.filter((target) => target.startsWith("vd")).map((target) => `vda,${target}`),
  ]);
  assert.deepEqual(await of("snapshot-create-as", "vm", "--diskspec", "v"), [
    "words",
    ...disks.filter((target) => target.startsWith("v")),
  ]);
  const { id } = await s.facade.migrateStorage("vm", { to: "/nas" });
  assert.deepEqual(await of("operation-watch", ""), ["words", id]);
  assert.deepEqual(await complete({}, "-c", s.socketPath, "start", "v"), ["words", "vm"]);
  s.facade.addDomain("evil\u001b[2J\nname");
  assert.deepEqual(await of("start", ""), ["words", "vm", "win'dows 11"]);
});

test("no daemon is started, and one that does not answer is given up", async () => {
  const directory = await mkdtemp(join(tmpdir(), "qmirror-test-"));
  assert.deepEqual(await complete({ QMIRROR_STATE_DIR: directory }, "start", ""), ["words"]);
  assert.deepEqual(await readdir(directory), []);
  const mute = createServer().listen(join(directory, "mute.sock"));
  await once(mute, "listening");
  const startedMs = performance.now();
  assert.deepEqual(await complete({ QMIRROR_SOCKET: join(directory, "mute.sock") }, "start", ""), ["words"]);
  assert.ok(performance.now() - startedMs < 5000);
  mute.close();
  await rm(directory, { recursive: true });
});

test("every argument and every option's value is known to the completion", async () => {
  const io = createIo();
  const program = createProgram(io, false);
  for (const command of program.commands) {
    await configureCommand(command, new CliSession(io, false));
    const takers = [...command.registeredArguments, ...command.options.filter(({ required }) => required)];
    for (const taker of takers.filter(({ argChoices }) => argChoices === undefined)) {
      assert.notEqual(kindOf(taker), undefined, `${command.name()} ${taker.name()}`);
    }
  }
  assert.equal(program.commands.length, Object.keys(commandTable).length);
});

/** What bash would offer after `words`, whose last one is at the cursor. */
async function completeInBash(env: NodeJS.ProcessEnv, ...words: string[]): Promise<string[]> {
  const script = `
    eval "$SCRIPT"
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _qmirror
    [[ \${#COMPREPLY[@]} == 0 ]] || printf '%s\\n' "\${COMPREPLY[@]}"
    complete -p qmirror >&2`;
  const { stdout, stderr } = await run("bash", ["--norc", "-c", script, "bash", launcher, ...words], {
    env: { ...env, SCRIPT: completionScripts.bash },
  });
  assert.equal(stderr, "complete -F _qmirror qmirror\n");
  return stdout.split("\n").slice(0, -1);
}

test("bash completes words that it splits, and quotes what has to be", async () => {
  await using s = await serveDomains();
  const of = (...words: string[]) => completeInBash(s.env, ...words);
  assert.deepEqual(await of("snapshot-del"), ["snapshot-delete"]);
  assert.deepEqual(await of("start", ""), ["vm", String.raw`win\'dows\ 11`]);
  assert.deepEqual(await of("start", String.raw`win\'dows\ `), [String.raw`win\'dows\ 11`]);
  assert.deepEqual(await of("snapshot-info", "vm", "'with"), ["with space:and,more"]);
  assert.deepEqual(await of("snapshot-info", "vm", String.raw`with\ space`, ":", "an"), ["and,more"]);
  assert.deepEqual(await of("snapshot-list", "vm", "--from", "=", "s"), ["s1"]);
  assert.deepEqual(await of("snapshot-list", "vm", "--from", "="), ["s1", String.raw`with\ space:and\,more`]);
  assert.deepEqual(await of("define", "x"), []);
  assert.deepEqual(await of("start", "nothing-like-it"), []);
});

const syntaxChecks: Readonly<Record<Shell, readonly string[]>> = { bash: ["-n"], zsh: ["-n"], fish: ["--no-execute"] };

for (const shell of shells) {
  test(`the script for ${shell} is what the command prints; ${shell} reads it, where it is installed`, async () => {
    const { code, stdout } = await runCli(["completion", shell]);
    assert.deepEqual([code, stdout], [0, completionScripts[shell]]);
    if (spawnSync(shell, ["--version"]).error !== undefined) return;
    const directory = await mkdtemp(join(tmpdir(), "qmirror-test-"));
    await writeFile(join(directory, "script"), stdout);
    await run(shell, [...syntaxChecks[shell], join(directory, "script")]);
    await rm(directory, { recursive: true });
  });
}

test("fish, where it is installed, shows the daemon's words with their meanings", async () => {
  if (spawnSync("fish", ["--version"]).error !== undefined) return;
  await using s = await serveDomains();
  const line = `function qmirror; '${launcher}' $argv; end\n${completionScripts.fish}\ncomplete -C 'qmirror start '`;
  const { stdout } = await run("fish", ["--no-config", "-c", line], { env: s.env });
  assert.match(stdout, /^vm\trunning$/m);
});

test("a shell that is not known is refused", async () => {
  const { code, stderr } = await runCli(["completion", "csh"]);
  assert.equal(code, 2);
  assert.match(stderr, /bash, zsh, fish/);
});
