import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
  version: string;
  dependencies: Record<string, string>;
};

/** A project that has the packed package installed: its dependencies are those of this one, so that nothing is fetched. */
let project: string;
before(async () => {
  project = await mkdtemp(join(tmpdir(), "qmirror-package-"));
  await run("npm", ["pack", "--pack-destination", project], { cwd: root });
  const modules = join(project, "node_modules");
  await mkdir(join(modules, "qmirror"), { recursive: true });
  const archive = (await readdir(project)).find((name) => name.endsWith(".tgz")) ?? "";
  await run("tar", ["-xzf", join(project, archive), "-C", join(modules, "qmirror"), "--strip-components=1"]);
  for (const name of [...Object.keys(manifest.dependencies), "@types"]) {
    await symlink(join(root, "node_modules", name), join(modules, name));
  }
  await writeFile(join(project, "package.json"), `{ "type": "module" }`);
});
after(() => rm(project, { recursive: true, force: true }));

function runProgram(name: string, nodeDirectory: string) {
  const env = { ...process.env, PATH: [nodeDirectory, process.env["PATH"]].join(delimiter) };
  return run(join(project, "node_modules/qmirror/bin", name), ["--version"], { env });
}

for (const name of ["qmirror", "qmirrord"]) {
  test(`${name} of the packed package runs`, async () => {
    const { stdout } = await runProgram(name, dirname(process.execPath));
    assert.equal(stdout, `${manifest.version}\n`);
  });

  test(`${name} says what it needs where Node is too old`, async () => {
    const oldNode = join(project, "old");
    await mkdir(oldNode, { recursive: true });
    await writeFile(join(oldNode, "node"), "#!/bin/sh\necho v22.12.0\n", { mode: 0o755 });
    await assert.rejects(runProgram(name, oldNode), { code: 1, stderr: /needs Node 24\.2 or later.*v22\.12\.0\n$/ });
  });
}

test("each entrance of the packed package can be imported, and its types are there", async () => {
  const program = `
    import { QmirrorClient, formatDomain, parseDomain, type Facade } from "qmirror";
    import { connectQmp } from "qmirror/qmp";
    import { loadSchema, startFakeQemu } from "qmirror/testing";
    export type Domains = Awaited<ReturnType<Facade["listDomains"]>>;
    const xml: string = await import("node:fs").then(({ readFileSync }) => readFileSync(process.argv[2] ?? "", "utf8"));
    console.log(formatDomain(parseDomain(xml)).includes("<domain"), loadSchema().version !== "");
    console.log([QmirrorClient, connectQmp, startFakeQemu].every((value) => typeof value === "function"));
  `;
  await writeFile(join(project, "program.ts"), program);
  const domain = join(root, "test/fixtures/xml/domain/minimal.xml");
  const { stdout } = await run(process.execPath, ["program.ts", domain], { cwd: project });
  assert.equal(stdout, "true true\ntrue\n");
  const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2024", "--types", "node"];
  await run(join(root, "node_modules/.bin/tsc"), [...options, "program.ts"], { cwd: project });
});
