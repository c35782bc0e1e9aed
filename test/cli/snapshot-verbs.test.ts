import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { QmError } from "../../src/base/errors.ts";
import type { SnapshotDeletedView, SnapshotView } from "../../src/client/index.ts";
import { serveCli } from "./serve-cli.ts";

type Served = Awaited<ReturnType<typeof serveCli>>;

/** `s1` with the children `s2` (which has `s3`) and `s4`, the current one. */
async function addTree({ facade }: Served): Promise<void> {
  facade.addDomain("vm");
  for (const name of ["s1", "s2", "s3"]) await facade.createSnapshot("vm", { name });
  await facade.setCurrentSnapshot("vm", "s1");
  await facade.createSnapshot("vm", { name: "s4" });
  facade.requests.length = 0;
}

test("snapshot-create and snapshot-create-as send every option that they take", async () => {
  await using s = await serveCli();
  s.facade.addDomain("vm");
  const sent = () => s.facade.requests.at(-1)?.args[1];
  await writeFile(join(s.directory, "s.xml"), "<domainsnapshot/>");
  await s.cli(..."snapshot-create vm s.xml --no-metadata --halt --disk-only --reuse-external --quiesce".split(" "));
  assert.deepEqual(sent(), {
    xml: "<domainsnapshot/>",
    noMetadata: true,
    halt: true,
    diskOnly: true,
    reuseExternal: true,
    quiesce: true,
  });
  await s.cli(..."snapshot-create --xmlfile s.xml --domain vm --live --validate --atomic".split(" "));
  assert.deepEqual(sent(), { xml: "<domainsnapshot/>", live: true, validate: true });
  const redefined = await s.cli("snapshot-create", "vm", "s.xml", "--redefine", "--current");
  assert.deepEqual(sent(), { xml: "<domainsnapshot/>", redefine: true, current: true });
  assert.match(redefined.stdout, /^Domain snapshot s\d created from 's\.xml'\n$/);
  assert.equal((await s.cli("snapshot-create", "vm", "--print-xml", "--validate")).stdout, "<domainsnapshot/>\n");

  const as = ["snapshot-create-as", "vm", "n", "why", "vda,file=a,,b", "--diskspec", "vdb,snapshot=no"];
  await s.cli(...as, "--live", "--memspec", "m,,1,snapshot=external", "--bandwidth", "1");
  assert.deepEqual(sent(), {
    name: "n",
    description: "why",
    memspec: `file=${join(s.directory, "m,,1")},snapshot=external`,
    diskspecs: [`vda,file=${join(s.directory, "a,,b")}`, "vdb,snapshot=no"],
    bytesPerS: 2 ** 20,
    live: true,
  });
  await s.cli("snapshot-create-as", "vm", "--memspec", "snapshot=no", "--validate", "--halt");
  assert.deepEqual(sent(), { memspec: "snapshot=no", validate: true, halt: true });
  const forgotten = await s.cli("snapshot-create-as", "vm", "--no-metadata", "--name", "gone", "--reuse-external");
  assert.equal(forgotten.stdout, "Domain snapshot gone created\n");
  assert.deepEqual(sent(), { name: "gone", noMetadata: true, reuseExternal: true });
});

test("snapshot-list prints virsh's tables, names and trees", async () => {
  await using s = await serveCli();
  await addTree(s);
  const list = async (...options: string[]) => (await s.cli("snapshot-list", "vm", ...options)).stdout;
  assert.match(await list(), /^ Name   Creation Time +State\n-+\n s1 .* disk-snapshot\n(.*\n){3}\n$/);
  assert.match(await list("--parent"), / s4 .* disk-snapshot   s1\n\n$/);
  assert.equal(await list("--name", "--leaves"), "s3\ns4\n");
  assert.equal(await list("--name", "--no-leaves"), "s1\ns2\n");
  assert.equal(await list("--name", "--no-metadata"), "");
  assert.equal(await list("--name", "--roots"), "s1\n");
  assert.equal(await list("--name", "--from", "s1"), "s2\ns4\n");
  assert.equal(await list("--name", "--from", "s1", "--descendants"), "s2\ns3\ns4\n");
  assert.equal(await list("--name", "--current"), "");
  assert.equal(await list("--tree", "--current"), "s4\n\n");
  assert.equal(await list("--tree", "--from", "s2"), "s2\n  |\n  +- s3\n    \n");
  assert.equal(await list("--tree"), "s1\n  |\n  +- s2\n  |   |\n  |   +- s3\n  |     \n  +- s4\n    \n");
  const json = JSON.parse(await list("--json", "--tree", "--from", "s1")) as SnapshotView[];
  assert.deepEqual(
    json.map(({ name }) => name),
    ["s1", "s2", "s3", "s4"],
  );
});

test("snapshot-list hands every filter to the daemon", async () => {
  await using s = await serveCli();
  await addTree(s);
  const filters: unknown[] = [];
  const listSnapshots = s.facade.listSnapshots.bind(s.facade);
  s.facade.listSnapshots = (domain, filter) => {
    filters.push(filter);
    return listSnapshots(domain, filter);
  };
  const all = "--metadata --inactive --active --disk-only --internal --external --topological --no-leaves --leaves";
  await s.cli("snapshot-list", "vm", ...all.split(" "));
  await s.cli("snapshot-list", "vm", "--no-metadata", "--current", "--descendants");
  assert.deepEqual(filters, [
    {
      metadata: true,
      inactive: true,
      active: true,
      diskOnly: true,
      internal: true,
      external: true,
      topological: true,
      noLeaves: true,
      leaves: true,
    },
    { noMetadata: true, from: "s4", descendants: true },
  ]);
});

test("snapshot-info, -parent, -current and -dumpxml describe a snapshot", async () => {
  await using s = await serveCli();
  await addTree(s);
  const { uuid } = await s.facade.getDomain("vm");
  const info = (await s.cli("snapshot-info", uuid, "s1")).stdout;
  assert.equal(
    info.slice(0, info.indexOf("\n\n")),
    [
      "Name:           s1",
      "Domain:         vm",
      "Current:        no",
      "State:          disk-snapshot",
      "Location:       external",
      "Parent:         -",
      "Children:       2",
      "Descendants:    3",
      "Metadata:       yes",
    ].join("\n"),
  );
  assert.match((await s.cli("snapshot-info", "vm", "--current")).stdout, /^Name: +s4$/m);
  assert.equal((await s.cli("snapshot-parent", "vm", "s2")).stdout, "s1\n");
  assert.equal((await s.cli("snapshot-parent", "vm", "--current", "--json")).stdout, '{"parent":"s1"}\n');
  const root = await s.cli("snapshot-parent", "vm", "s1");
  assert.deepEqual([root.code, root.stderr], [1, "error: snapshot 's1' has no parent\n"]);
  assert.equal((await s.cli("snapshot-current", "vm", "--name")).stdout, "s4\n");
  assert.match((await s.cli("snapshot-current", "vm", "--security-info")).stdout, /<name>s4</);
  assert.equal((await s.cli("snapshot-current", "--snapshotname", "s2", "vm")).stdout, "Snapshot s2 set as current\n");
  assert.equal((await s.cli("snapshot-current", "vm", "--name", "--json")).stdout, '{"name":"s2"}\n');
  assert.match((await s.cli("snapshot-dumpxml", "vm", "s3", "--security-info")).stdout, /<name>s3</);
  s.facade.snapshots.length = 0;
  const none = await s.cli("snapshot-info", "vm", "--current");
  assert.deepEqual([none.code, none.stderr], [1, "error: domain 'vm' has no current snapshot\n"]);
});

test("snapshot-revert", async () => {
  await using s = await serveCli();
  await addTree(s);
  assert.equal((await s.cli("snapshot-revert", "vm", "s2", "--running")).stdout, "Domain snapshot s2 reverted\n");
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", "s2", { running: true }]);
  await s.cli("snapshot-revert", "vm", "--current", "--paused", "--force");
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", "s2", { paused: true, force: true }]);
  const json = await s.cli("snapshot-revert", "vm", "s1", "--json");
  assert.equal((JSON.parse(json.stdout) as { kind: string }).kind, "snapshot-revert");
  const nvram = await s.cli("snapshot-revert", "vm", "s1", "--reset-nvram");
  assert.match(nvram.stderr, /^error: --reset-nvram is not supported/);
  assert.equal(s.facade.requests.length, 3);
});

test("snapshot-delete: previews, deletes, tells which layers stay", async () => {
  await using s = await serveCli();
  await addTree(s);
  const preview = await s.cli("snapshot-delete", "vm", "s2", "--children", "--preview");
  assert.match(
    preview.stdout,
    /^Would be deleted: s3, s2\n\n Disk +Layer +What +Into +At most\n-+\n vda +\/ssd\/vda\.s3 /,
  );
  assert.match(preview.stdout, /\nAt most 2\.0 MiB would be moved\n$/);
  assert.equal(s.facade.snapshots.length, 4);
  assert.equal(
    (await s.cli("snapshot-delete", "vm", "s2", "--children-only")).stdout,
    "Domain snapshot s2 children deleted\n",
  );
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", "s2", { childrenOnly: true }]);
  assert.equal((await s.cli("snapshot-delete", "vm", "s2", "--metadata")).stdout, "Domain snapshot s2 deleted\n");
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", "s2", { metadataOnly: true }]);
  const kept: SnapshotDeletedView = {
    deleted: ["s4"],
    layers: [{ disk: "vda", path: "/ssd/vda.s4", fate: "keep", reason: "vdb stands on it" }],
  };
  Object.assign(s.facade, { deleteSnapshot: () => Promise.resolve(kept) });
  assert.equal(
    (await s.cli("snapshot-delete", "vm", "--current")).stdout,
    "Domain snapshot s4 deleted\nLayer /ssd/vda.s4 of disk vda is kept: vdb stands on it\n",
  );
  assert.deepEqual(
    (JSON.parse((await s.cli("snapshot-delete", "vm", "s1", "--json")).stdout) as { deleted: string[] }).deleted,
    ["s4"],
  );
});

test("mirrors are started again, given up, and given up where nothing runs", async () => {
  await using s = await serveCli();
  s.facade.addDomain("vm");
  const create = (name: string) => s.facade.createSnapshot("vm", { name, diskspecs: ["vda,mirror=/m"] });
  await create("m1");
  assert.equal((await s.cli("snapshot-mirror", "vm", "m1")).stdout, "Mirrors of snapshot m1 are ready\n");
  assert.deepEqual(s.facade.requests.at(-1), { method: "restartMirrors", args: ["vm", "m1"] });
  assert.match(
    (await s.cli("snapshot-delete", "vm", "m1", "--mirror-abort")).stdout,
    /^Mirrors of snapshot m1 given up/,
  );
  await create("m2");
  s.facade.addDomain("vm", { id: null, state: "shut off" });
  assert.match(
    (await s.cli("snapshot-delete", "vm", "--current", "--mirror-abort")).stdout,
    /^Mirrors of snapshot m2 given up/,
  );
  assert.equal((await s.cli("snapshot-mirror", "vm", "m2")).code, 1);
});

const conflicts = `
snapshot-create vm --redefine                              | --redefine requires --xmlfile
snapshot-create vm --current                               | --current requires --redefine
snapshot-create vm f --redefine --no-metadata              | --redefine and --no-metadata
snapshot-create vm f --redefine --halt                     | --redefine and --halt
snapshot-create vm f --redefine --live                     | --redefine and --live
snapshot-create vm f --redefine --quiesce --disk-only      | --redefine and --quiesce
snapshot-create vm --quiesce                               | --quiesce requires --disk-only
snapshot-create vm --live --disk-only                      | --live and --disk-only
snapshot-create vm --live                                  | --live requires --xmlfile
snapshot-create-as vm --live                               | --live requires --memspec
snapshot-create-as vm --quiesce                            | --quiesce requires --disk-only
snapshot-create-as vm --live --disk-only                   | --live and --disk-only
snapshot-create-as vm --memspec m --disk-only              | --memspec and --disk-only
snapshot-list vm --tree --name                             | --tree and --name
snapshot-list vm --tree --parent                           | --parent and --tree
snapshot-list vm --tree --roots                            | --roots and --tree
snapshot-list vm --parent --roots                          | --parent and --roots
snapshot-list vm --roots --from s1                         | --roots and --from
snapshot-list vm --roots --current                         | --roots and --current
snapshot-list vm --from s1 --current                       | --from and --current
snapshot-list vm --leaves --tree                           | --tree and --leaves
snapshot-list vm --no-leaves --tree                        | --tree and --no-leaves
snapshot-list vm --inactive --tree                         | --tree and --inactive
snapshot-list vm --active --tree                           | --tree and --active
snapshot-list vm --disk-only --tree                        | --tree and --disk-only
snapshot-list vm --internal --tree                         | --tree and --internal
snapshot-list vm --external --tree                         | --tree and --external
snapshot-list vm --descendants                             | --descendants requires --from or --current
snapshot-list vm --descendants --tree                      | --descendants requires --from or --current
snapshot-info vm                                           | --snapshotname or --current is required
snapshot-info vm s1 --current                              | --snapshotname and --current
snapshot-parent vm                                         | --snapshotname or --current is required
snapshot-parent --current --snapshotname s1 vm             | --snapshotname and --current
snapshot-current vm s1 --name                              | --name and --snapshotname
snapshot-edit vm                                           | --snapshotname or --current is required
snapshot-edit vm s1 --rename --clone                       | --rename and --clone
snapshot-revert vm                                         | --snapshotname or --current is required
snapshot-revert vm s1 --current                            | --snapshotname and --current
snapshot-revert vm s1 --running --paused                   | --running and --paused
snapshot-delete vm                                         | --snapshotname or --current is required
snapshot-delete vm s1 --current                            | --snapshotname and --current
snapshot-delete vm s1 --children --children-only           | --children and --children-only
snapshot-delete vm s1 --mirror-pivot --mirror-abort        | --mirror-pivot and --mirror-abort
snapshot-delete vm s1 --mirror-pivot --metadata            | --mirror-pivot and --metadata
snapshot-delete vm s1 --mirror-abort --metadata            | --mirror-abort and --metadata
snapshot-delete vm s1 --mirror-pivot --preview             | --mirror-pivot and --preview
snapshot-delete vm s1 --mirror-pivot --children            | --mirror-pivot and --children
snapshot-delete vm s1 --mirror-abort --children-only       | --mirror-abort and --children-only
snapshot-mirror vm                                         | missing required argument 'snapshotname'
snapshot-dumpxml vm                                        | missing required argument 'snapshotname'
`;

test("what virsh refuses is refused before the daemon is asked", async () => {
  await using s = await serveCli();
  await addTree(s);
  for (const line of conflicts.trim().split("\n")) {
    const [argv = "", reason = ""] = line.split("|").map((part) => part.trim());
    const { code, stdout, stderr } = await s.cli(...argv.split(" "));
    assert.deepEqual([code, stdout], [2, ""], argv);
    assert.ok(stderr.includes(reason), `${argv}: ${stderr}`);
  }
  assert.equal(s.facade.requests.length, 0);
});

/** An editor: runs `body` of a Node script on the file. */
async function makeEditor(directory: string, body: string): Promise<string> {
  const path = join(directory, "editor of mine.cjs");
  await writeFile(path, `const fs = require("node:fs"); const file = process.argv.at(-1);\n${body}`);
  return `'${process.execPath}' "${path}" --wait`;
}
const replaceText = (from: string, to: string) =>
  `fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace(${JSON.stringify(from)}, ${JSON.stringify(to)}));`;

test("snapshot-edit records what the editor leaves, and nothing when it changed nothing", async () => {
  const env: Record<string, string> = {};
  await using s = await serveCli({ env });
  await addTree(s);
  env["EDITOR"] = "false";
  env["VISUAL"] = await makeEditor(s.directory, "");
  assert.equal((await s.cli("snapshot-edit", "vm", "s1")).stdout, "Snapshot s1 XML configuration not changed.\n");
  assert.equal(s.facade.requests.length, 0);
  env["VISUAL"] = await makeEditor(s.directory, replaceText("</name>", "</name><description>d</description>"));
  const edited = await s.cli("snapshot-edit", "vm", "s1", "--current");
  assert.equal(edited.stdout, "Snapshot s1 edited.\n");
  assert.deepEqual(s.facade.requests.at(-1)?.args, [
    "vm",
    {
      xml: "<domainsnapshot><name>s1</name><description>d</description></domainsnapshot>\n",
      redefine: true,
      current: true,
    },
  ]);
  await s.cli("snapshot-edit", "vm", "--current");
  const [, body] = s.facade.requests.at(-1)?.args ?? [];
  assert.deepEqual(Object.keys(body ?? {}), ["xml", "redefine"]);
});

test("snapshot-edit renames and clones only when that was allowed", async () => {
  const env: Record<string, string> = {};
  await using s = await serveCli({ env });
  await addTree(s);
  env["EDITOR"] = await makeEditor(s.directory, replaceText("s2<", "new<"));
  const refused = await s.cli("snapshot-edit", "vm", "s2");
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /the name 's2' became 'new': --rename or --clone allows that/);
  assert.equal(s.facade.requests.length, 0);
  await removeKept(refused.stderr);
  assert.equal((await s.cli("snapshot-edit", "vm", "s2", "--clone")).stdout, "Snapshot s2 cloned to new.\n");
  assert.deepEqual(s.facade.requests.at(-1)?.method, "createSnapshot");
  assert.equal((await s.cli("snapshot-edit", "vm", "s2", "--rename")).stdout, "Snapshot s2 renamed to new.\n");
  assert.deepEqual(s.facade.requests.at(-1), { method: "deleteSnapshot", args: ["vm", "s2", { metadataOnly: true }] });
});

test("snapshot-edit keeps a renamed current snapshot the current one", async () => {
  const env: Record<string, string> = {};
  await using s = await serveCli({ env });
  await addTree(s);
  env["EDITOR"] = await makeEditor(s.directory, replaceText("s4<", "new<"));
  assert.equal((await s.cli("snapshot-edit", "vm", "--current", "--rename")).stdout, "Snapshot s4 renamed to new.\n");
  const redefined = s.facade.requests.find(({ method }) => method === "createSnapshot");
  const xml = "<domainsnapshot><name>new</name></domainsnapshot>\n";
  assert.deepEqual(redefined?.args[1], { xml, redefine: true, current: true });
});

/** Looks at the text that was kept, and removes it. */
async function removeKept(stderr: string): Promise<{ text: string; mode: number }> {
  const path = /^(?:the edited text is kept in |\{"kept":")([^"\n]*)/m.exec(stderr)?.[1] ?? "";
  const kept = { text: readFileSync(path, "utf8"), mode: statSync(path).mode & 0o777 };
  await rm(dirname(path), { recursive: true });
  return kept;
}

test("a refused text is edited again on a terminal, and kept where nobody answers", async () => {
  const env: Record<string, string> = {};
  const questions: string[] = [];
  const answers = ["", "n"];
  const ask = async (question: string) => (questions.push(question), answers.shift());
  await using s = await serveCli({ env, ask });
  await addTree(s);
  s.facade.createSnapshot = () =>
    Promise.reject(new QmError("QM_SNAPSHOT_TREE", { snapshot: "s1", reason: "a cycle" }));
  env["EDITOR"] = await makeEditor(s.directory, `fs.appendFileSync(file, "<!-- again -->\\n");`);
  const refused = await s.cli("snapshot-edit", "vm", "s1");
  assert.equal(refused.code, 1);
  assert.equal(questions.length, 2);
  const kept = await removeKept(refused.stderr);
  assert.deepEqual(kept, {
    text: "<domainsnapshot><name>s1</name></domainsnapshot>\n<!-- again -->\n<!-- again -->\n",
    mode: 0o600,
  });
  const json = await s.cli("snapshot-edit", "vm", "s1", "--json");
  assert.equal(json.code, 1);
  assert.equal(questions.length, 2);
  await removeKept(json.stderr);
});

test("an editor that fails changes nothing and leaves nothing", async () => {
  const env: Record<string, string> = { EDITOR: "false" };
  await using s = await serveCli({ env });
  await addTree(s);
  const failed = await s.cli("snapshot-edit", "vm", "s1");
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /editing with false.*exit code 1/);
  assert.doesNotMatch(failed.stderr, /kept/);
  env["EDITOR"] = "/nonexistent/editor";
  assert.match((await s.cli("snapshot-edit", "vm", "s1")).stderr, /ENOENT/);
  assert.equal(s.facade.requests.length, 0);
});
