import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { serveCli } from "./serve-cli.ts";
import { runCli } from "./run-cli.ts";

test("list prints virsh's table and its filters", async () => {
  await using s = await serveCli();
  s.facade.addDomain("web");
  s.facade.addDomain("archive", { id: null, state: "shut off", uuid: "u-2" });
  assert.equal((await s.cli("list")).stdout, " Id   Name   State\n----------------------\n 1    web    running\n\n");
  assert.equal(
    (await s.cli("list", "--all")).stdout,
    " Id   Name      State\n--------------------------\n 1    web       running\n -    archive   shut off\n\n",
  );
  assert.equal((await s.cli("list", "--inactive", "--name")).stdout, "archive\n");
  assert.equal((await s.cli("list", "--inactive", "--uuid")).stdout, "u-2\n");
  const json = await s.cli("list", "--json");
  assert.deepEqual(
    (JSON.parse(json.stdout) as { name: string }[]).map(({ name }) => name),
    ["web"],
  );
});

test("a domain's life, from a file beside the user", async () => {
  await using s = await serveCli();
  await writeFile(join(s.directory, "vm.xml"), "<domain><name>vm</name></domain>");
  assert.equal((await s.cli("define", "vm.xml")).stdout, "Domain 'vm' defined from vm.xml\n");
  assert.equal((await s.cli("start", "vm")).stdout, "Domain 'vm' started\n");
  assert.match((await s.cli("dumpxml", "vm", "--inactive")).stdout, /<!-- inactive -->/);
  assert.equal((await s.cli("domblklist", "vm")).stdout.split("\n")[2], " vda      /ssd/vda.qcow2");
  assert.equal((await s.cli("destroy", "vm")).stdout, "Domain 'vm' destroyed\n");
  assert.equal((await s.cli("undefine", "vm")).stdout, "Domain 'vm' has been undefined\n");
  assert.equal((await s.cli("create", "vm.xml")).stdout, "Domain 'vm' created from vm.xml\n");
  assert.equal((await s.cli("attach", "q.sock", "--name", "x")).stdout, "Domain 'x' attached\n");
  assert.deepEqual(s.facade.requests.at(-1)?.args, [{ qmp: join(s.directory, "q.sock"), name: "x" }]);
  assert.equal((await s.cli("detach", "x")).stdout, "Domain 'x' detached\n");
  assert.equal((await s.cli("define", "none.xml")).code, 1);
});

test("snapshots: created, listed, described, ended", async () => {
  await using s = await serveCli();
  s.facade.addDomain("vm");
  const created = await s.cli(
    "snapshot-create-as",
    "vm",
    "s1",
    "--diskspec",
    "vda,file=o,,1,mirror=m",
    "--diskspec",
    "vdb",
  );
  assert.match(created.stdout, /^Domain snapshot s1 created\nIts mirrors are ready: .*--mirror-pivot/);
  assert.deepEqual(s.facade.requests.at(-1)?.args[1], {
    name: "s1",
    diskspecs: [`vda,file=${join(s.directory, "o,,1")},mirror=${join(s.directory, "m")}`, "vdb"],
  });
  await s.cli("snapshot-create-as", "vm", "--description", "why", "--name", "s2", "--disk-only", "--atomic");
  assert.deepEqual(s.facade.requests.at(-1)?.args[1], { name: "s2", description: "why", diskOnly: true });
  assert.equal((await s.cli("snapshot-create", "vm", "--print-xml")).stdout, "<domainsnapshot/>\n");
  await writeFile(join(s.directory, "s.xml"), "<domainsnapshot/>");
  assert.match((await s.cli("snapshot-create", "vm", "s.xml")).stdout, /created from 's.xml'/);
  assert.deepEqual(s.facade.requests.at(-1)?.args[1], { xml: "<domainsnapshot/>" });
  assert.equal(
    (await s.cli("snapshot-list", "vm", "--tree")).stdout,
    "s1\n  |\n  +- s2\n      |\n      +- s3\n        \n",
  );
  assert.equal((await s.cli("snapshot-list", "vm", "--name")).stdout, "s1\ns2\ns3\n");
  assert.match((await s.cli("snapshot-list", "vm", "--parent")).stdout, / s2 .* disk-snapshot +s1\n/);
  assert.match((await s.cli("snapshot-info", "vm", "s1")).stdout, /^Mirrored: +yes$/m);
  assert.match((await s.cli("snapshot-dumpxml", "vm", "s1")).stdout, /<name>s1</);
  assert.match((await s.cli("blockjob", "vm")).stdout, / vda +\/nas\/vda.s1 +ready/);

  const both = await s.cli("snapshot-delete", "vm", "s1", "--mirror-pivot", "--mirror-abort");
  assert.equal(both.code, 2);
  assert.match(both.stderr, /^error: .*--mirror-pivot and --mirror-abort are mutually exclusive/);
  const pivot = await s.cli("snapshot-delete", "--domain", "vm", "--snapshotname=s1", "--mirror-pivot");
  assert.equal(pivot.stdout, "Domain 'vm' runs on the mirrors of snapshot s1 now\n");
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", "s1", "pivot"]);
});

test("errors go to stderr with the next step, and the registry's exit code", async () => {
  await using s = await serveCli();
  const missing = await s.cli("start", "none");
  assert.deepEqual([missing.code, missing.stdout], [1, ""]);
  assert.equal(
    missing.stderr,
    "error: no domain with matching name or uuid 'none'\nnext: `qmirror list --all` shows the domains that qmirror knows\n",
  );
  const json = await s.cli("start", "none", "--json");
  assert.equal((JSON.parse(json.stderr) as { error: { code: string } }).error.code, "QM_NO_DOMAIN");
  const invalid = await s.cli("migrate-storage", "none", "--to", "/x", "--bandwidth", "fast");
  assert.deepEqual([invalid.code, invalid.stderr.slice(0, 6)], [2, "error:"]);
});

test("usage errors exit with 2, help and version with 0, without a daemon", async () => {
  const suggestion = await runCli(["lst"]);
  assert.deepEqual([suggestion.code, suggestion.stderr], [2, "error: unknown command 'lst' (Did you mean list?)\n"]);
  assert.equal((await runCli(["start"])).code, 2);
  assert.equal((await runCli(["start", "a", "b"])).code, 2);
  assert.equal((await runCli(["list", "--nope"])).code, 2);
  assert.equal((await runCli([])).code, 2);
  assert.match((await runCli(["list", "--nope", "--json"])).stderr, /^\{"error":\{"code":"QM_INVALID"/);
  assert.equal((await runCli(["--version"])).code, 0);
  for (const argv of [
    ["help", "start"],
    ["start", "--help"],
  ]) {
    const help = await runCli(argv);
    assert.equal(help.code, 0);
    assert.match(help.stdout, /Usage: qmirror start .*<domain>/);
  }
});

test("a name with terminal escapes is harmless in tables, messages and JSON", async () => {
  await using s = await serveCli();
  const name = "a\u001b]0;x\u0007\u009b2J\u202eb\nc";
  s.facade.addDomain(name);
  for (const argv of [["list"], ["list", "--name"], ["list", "--json"], ["start", name], ["start", name, "--json"]]) {
    const { stdout, stderr } = await s.cli(...argv);
    // oxlint-disable-next-line no-control-regex
    assert.doesNotMatch(stdout + stderr, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/, argv.join(" "));
  }
  const [view] = JSON.parse((await s.cli("list", "--json")).stdout) as { name: string }[];
  assert.equal(view?.name, name);
});

test("names that look like options are reached by name and after --", async () => {
  await using s = await serveCli();
  s.facade.addDomain("--all", { id: null, state: "shut off" });
  assert.equal((await s.cli("start", "--domain", "--all")).stdout, "Domain '--all' started\n");
  assert.equal((await s.cli("destroy", "--", "--all")).stdout, "Domain '--all' destroyed\n");
});

test("blockjob limits and aborts the operation that it finds", async () => {
  await using s = await serveCli();
  s.facade.addDomain("vm");
  assert.equal((await s.cli("blockjob", "vm")).stdout, "No current block job\n");
  assert.equal((await s.cli("blockjob", "vm", "--abort")).code, 2);
  const { id } = await s.facade.migrateStorage("vm", { to: "/nas" });
  assert.equal(
    (await s.cli("blockjob", "vm", "vda")).stdout,
    `migrate-storage ${id}: copy: 0.0 % (0 B of 1.0 GiB, vda)\n`,
  );
  await s.cli("blockjob", "vm", "vda", "--bandwidth", "200");
  assert.deepEqual(s.facade.requests.at(-1)?.args, [id, 200 * 2 ** 20]);
  assert.equal((await s.cli("blockjob", "vm", id, "--abort")).stdout, `Operation ${id} cancelled\n`);
  assert.match((await s.cli("operation-list")).stdout, / op-1 +migrate-storage +vm +cancelled +copy +0\.0 %/);
  assert.match((await s.cli("operation-list", "--running")).stdout, /^ Id .*\n-+\n\n$/);
});

test("doctor fails when a check does", async () => {
  await using s = await serveCli();
  const { code, stdout } = await s.cli("doctor");
  assert.equal(code, 1);
  assert.match(stdout, /^ok {7}qemu-img {2}7\.2\.22\nfailed {3}kvm {7}no \/dev\/kvm\n {19}next: use type='qemu'\n$/);
});
