/** A tree of snapshots as a user makes it, looks at it, goes about in it and clears it away: every command of the group. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";
import { commandGroups } from "../../src/cli/command-table.ts";
import { CliRig } from "./cli-rig.ts";
import { assertHolds } from "./service-rig.ts";

const rig = new CliRig();
const domain = "sn";
before(async () => {
  await rig.open();
  await rig.define(domain, { sda: true });
});
after(() => rig.close());

/** Names that `snapshot-list` prints. */
const names = async (options: string): Promise<string> =>
  (await rig.ok(`snapshot-list sn --name ${options}`.trim())).trimEnd().replaceAll("\n", " ");

const dir = () => rig.path("images");
const revisit = async (snapshot: string, options: string) => {
  assert.equal(
    await rig.ok(`snapshot-revert ${domain} ${snapshot} ${options}`.trim()),
    `Domain snapshot ${snapshot} reverted\n`,
  );
};

test("are taken in every way", async () => {
  await rig.write(domain, 1, 64);
  const printed = await rig.ok(`snapshot-create-as sn s1 --print-xml --disk-only --diskspec vda,file=${dir()}/a,,1`);
  assert.match(
    printed,
    /^<domainsnapshot>\n  <name>s1<\/name>\n[^]*<source file='\S+\/a,1'\/>[^]*<\/domainsnapshot>\n$/,
  );
  assert.equal(await names(""), "");
  const as = ["snapshot-create-as", "sn", "s1", "before all", `vda,snapshot=external,driver=qcow2,file=${dir()}/a,,1`];
  assert.equal((await rig.run([...as, "--disk-only", "--atomic"])).stdout, "Domain snapshot s1 created\n");
  assert.equal((await rig.sources("sn"))[0], `${dir()}/a,1`);

  await rig.write(domain, 2, 128);
  await rig.ok("snapshot-create-as sn s2 --live --memspec images/m2,snapshot=external --diskspec sda,snapshot=no");
  assert.ok(rig.exists("images/m2"));
  await rig.write(domain, 3, 192);
  const [active = "", other = ""] = await rig.sources("sn");
  rig.files.createImage("ready", { backing: active });
  const reuse = "--disk-only --reuse-external --diskspec vda,file=images/ready --diskspec sda,snapshot=no";
  assert.equal(await rig.ok(`snapshot-create-as sn s3 ${reuse}`), "Domain snapshot s3 created\n");
  assert.deepEqual(await rig.sources("sn"), [`${dir()}/ready`, other]);
  await rig.write(domain, 4, 256);
  const document = "<domainsnapshot><name>s4</name><description>of a file</description></domainsnapshot>";
  rig.save("s4.xml", document);
  assert.equal(
    await rig.ok("snapshot-create sn s4.xml --disk-only --validate"),
    "Domain snapshot s4 created from 's4.xml'\n",
  );
  await rig.ok("snapshot-create-as sn s5 --halt --memspec images/m5");
  assert.equal(await rig.ok("domstate sn"), "shut off\n");
  await rig.ok("snapshot-create-as sn s6 --disk-only");
  assert.equal(await names(""), "s1 s2 s3 s4 s5 s6");
});

test("are listed, drawn and described", async () => {
  const time = "\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d [+-]\\d{4}";
  const row = (name: string, state: string, parent = "") => ` ${name} {5}${time} {3}${state}${parent}\n`;
  const rows: (readonly [string, string])[] = [
    ["s1", "disk-snapshot"],
    ["s2", "running"],
    ["s3", "disk-snapshot"],
    ["s4", "disk-snapshot"],
    ["s5", "running"],
    ["s6", "shutoff"],
  ];
  assert.match(
    await rig.ok("snapshot-list sn"),
    new RegExp(
      `^ Name   Creation Time               State\n-{51}\n${rows.map(([name, state]) => row(name, state)).join("")}\n$`,
    ),
  );
  assert.match(
    await rig.ok("snapshot-list sn --parent"),
    / State +Parent\n-+\n s1 .* disk-snapshot\n s2 .* running         s1\n/,
  );
  await revisit("s3", "--paused");
  assert.equal(await rig.ok("domstate sn --reason"), "paused (starting up)\n");
  await rig.ok("snapshot-create-as sn side --memspec images/side.mem");
  assert.equal(
    await rig.ok("snapshot-list sn --tree"),
    "s1\n  |\n  +- s2\n      |\n      +- s3\n          |\n          +- s4\n          |   |\n          |   +- s5\n          |       |\n          |       +- s6\n          |         \n          +- side\n            \n",
  );
  assert.equal(await rig.ok("snapshot-list sn --tree --from s4"), "s4\n  |\n  +- s5\n      |\n      +- s6\n        \n");
  const asked = {
    "--roots": "s1",
    "--leaves": "s6 side",
    "--no-leaves": "s1 s2 s3 s4 s5",
    "--metadata": "s1 s2 s3 s4 s5 s6 side",
    "--no-metadata": "",
    "--inactive": "s6",
    "--active": "s2 s5 side",
    "--disk-only": "s1 s3 s4",
    "--active --inactive": "s2 s5 s6 side",
    "--internal": "",
    "--external": "s1 s2 s3 s4 s5 s6 side",
    "--from s3": "s4 side",
    "--from s3 --descendants": "s4 s5 s6 side",
    "--current": "",
    "--topological": "s1 s2 s3 s4 s5 s6 side",
  };
  for (const [options, expected] of Object.entries(asked)) assert.equal(await names(options), expected, options);

  const info = await rig.ok("snapshot-info sn s3");
  assert.match(
    info,
    /^Name: {11}s3\nDomain: {9}sn\nCurrent: {8}no\nState: {10}disk-snapshot\nLocation: {7}external\nParent: {9}s2\nChildren: {7}2\nDescendants: {4}4\nMetadata: {7}yes\n\n/,
  );
  assert.match(info, /\n Target +Snapshot +Source +Mirror\n-+\n vda +external +\S+\/ready +-\n sda +no +- +-\n\n$/);
  assert.match(await rig.ok("snapshot-info sn --current"), /^Name: +side\n/);
  assert.match(await rig.ok("snapshot-info sn s1"), /^Description: +before all$/m);
  assert.equal(await rig.ok("snapshot-parent sn side"), "s3\n");
  assert.equal(await rig.ok("snapshot-parent sn --current"), "s3\n");
  assert.equal(await rig.ok("snapshot-current sn --name"), "side\n");
  assert.match(await rig.ok("snapshot-current sn"), /^<domainsnapshot>\n  <name>side<\/name>\n  <state>paused</);
  assert.equal(await rig.ok("snapshot-current sn s4"), "Snapshot s4 set as current\n");
  assert.equal(await names("--current --descendants"), "s5 s6");
  await rig.ok("snapshot-current sn side");
});

test("are edited, forgotten and recorded again", async () => {
  const edit = (line: string, sed: string) => rig.ok(line, { env: rig.editor("editor", sed) });
  assert.equal(await edit("snapshot-edit sn s1", "s,before all,edited,"), "Snapshot s1 edited.\n");
  assert.match(await rig.ok("snapshot-dumpxml sn s1"), /\n  <description>edited<\/description>\n/);
  assert.equal(await edit("snapshot-edit sn --current", ""), "Snapshot side XML configuration not changed.\n");
  assert.equal(
    await edit("snapshot-edit sn side --rename", "s,<name>side<,<name>branch<,"),
    "Snapshot side renamed to branch.\n",
  );
  assert.equal(await rig.ok("snapshot-current sn --name"), "branch\n");

  rig.save("s6.xml", await rig.ok("snapshot-dumpxml sn s6"));
  assert.equal(await rig.ok("snapshot-delete sn s6 --metadata"), "Domain snapshot s6 deleted\n");
  assert.equal(await names("--leaves"), "branch s5");
  assert.equal(
    await rig.ok("snapshot-create sn s6.xml --redefine --current"),
    "Domain snapshot s6 created from 's6.xml'\n",
  );
  assert.equal(await rig.ok("snapshot-current sn --name"), "s6\n");
  assert.equal(await rig.ok("snapshot-dumpxml sn s6"), rig.read("s6.xml"));
  await rig.ok("snapshot-current sn branch");
});

test("are gone back to", async () => {
  await revisit("s1", "--running");
  assert.equal(await rig.ok("domstate sn"), "running\n");
  await rig.write(domain, 9, 64);
  await revisit("s2", "");
  assert.equal(await rig.ok("domstate sn"), "running\n");
  assert.equal(await rig.ok("snapshot-current sn --name"), "s2\n");
  await revisit("s6", "");
  assert.equal(await rig.ok("domstate sn"), "shut off\n");
  const [vda = ""] = await rig.sources(domain);
  for (const pattern of [1, 2, 3, 4]) assertHolds(vda, pattern, pattern * 64);
});

test("are deleted, with what is below them and without", async () => {
  const preview = await rig.ok("snapshot-delete sn s3 --children-only --preview");
  assert.match(
    preview,
    /^Would be deleted: s4, s5, s6, branch\n\n Disk +Layer +What +Into +At most\n-+\n( \w+ .*\n)+\nAt most \S+ [KM]?i?B would be moved\n$/,
  );
  assert.equal(await names(""), "branch s1 s2 s3 s4 s5 s6", "a preview does nothing");
  assert.equal(await rig.ok("snapshot-delete sn s4"), "Domain snapshot s4 deleted\n");
  assert.equal(await rig.ok("snapshot-parent sn s5"), "s3\n");
  assert.equal(await rig.ok("snapshot-delete sn s3 --children-only"), "Domain snapshot s3 children deleted\n");
  assert.equal(await names(""), "s1 s2 s3");
  assert.ok(!rig.exists("images/m5") && rig.exists("images/m2"));
  await rig.ok("start sn");
  assert.equal(await rig.ok("snapshot-delete sn --current"), "Domain snapshot s3 deleted\n");
  assert.equal(await rig.ok("snapshot-delete sn s1 --children"), "Domain snapshot s1 deleted\n");
  assert.equal(await names(""), "");
  await rig.ok("destroy sn");
  const [vda = ""] = await rig.sources(domain);
  for (const pattern of [1, 2, 3, 4]) assertHolds(vda, pattern, pattern * 64);
  assert.doesNotMatch(execFileSync("qemu-img", ["info", vda], { encoding: "utf8" }), /^backing file:/m);
});

test("with internal disks and memory are taken, gone back to and deleted", async () => {
  await rig.define("inner");
  await rig.write("inner", 1, 0);
  assert.equal(await rig.ok("snapshot-create-as inner --name i1"), "Domain snapshot i1 created\n");
  assert.match(await rig.ok("snapshot-info inner i1"), /^Location: +internal$/m);
  await rig.write("inner", 2, 0);
  assert.equal(await rig.ok("snapshot-revert inner --current"), "Domain snapshot i1 reverted\n");
  assert.equal(await rig.ok("snapshot-delete inner i1"), "Domain snapshot i1 deleted\n");
  await rig.ok("destroy inner");
  assertHolds((await rig.sources("inner"))[0] ?? "", 1, 0);
});

test("with mirrors are mirrored again when a mirror broke, pivoted and given up", async () => {
  await rig.define("mirrored");
  const take = (name: string) =>
    rig.ok(`snapshot-create-as mirrored ${name} --disk-only --diskspec vda,mirror=images/${name}.far`);
  assert.equal(
    await take("m1"),
    "Domain snapshot m1 created\nIts mirrors are ready: `qmirror snapshot-delete mirrored m1 --mirror-pivot` switches to them, `--mirror-abort` gives them up\n",
  );
  assert.match(await rig.ok("domblklist mirrored --details"), / vda +\S+ +\S+\/m1\.far \(ready\)\n/);
  assert.match(
    await rig.ok("blockjob mirrored"),
    /^ Target +Mirror +State +Reason\n-+\n vda +\S+\/m1\.far +ready\n\n$/,
  );
  const [job] = await rig.look("mirrored", (eye) => eye.execute("query-jobs"));
  await rig.look("mirrored", (eye) => eye.execute("job-cancel", { id: job?.id ?? "" }));
  await rig.listen("events mirrored --since 0", /event 'mirror' .*broken/);
  assert.match(await rig.ok("snapshot-info mirrored m1"), /m1\.far \(broken\)\n/);
  assert.equal(await rig.ok("snapshot-mirror mirrored m1"), "Mirrors of snapshot m1 are ready\n");
  assert.equal(
    await rig.ok("snapshot-delete mirrored m1 --mirror-pivot"),
    "Domain 'mirrored' runs on the mirrors of snapshot m1 now\n",
  );
  assert.deepEqual(await rig.sources("mirrored"), [rig.path("images/m1.far")]);
  await take("m2");
  assert.equal(
    await rig.ok("snapshot-delete mirrored m2 --mirror-abort"),
    "Mirrors of snapshot m2 given up; domain 'mirrored' stays on its source\n",
  );
  assert.ok(!rig.exists("images/m2.far"));
  await rig.ok("destroy mirrored");
});

test("every command of the group was run", () => {
  const commands = Object.keys(commandGroups["Snapshots"] ?? {});
  assert.ok(commands.length > 0);
  assert.deepEqual(
    commands.filter((name) => !rig.succeeded.has(name)),
    [],
  );
});
