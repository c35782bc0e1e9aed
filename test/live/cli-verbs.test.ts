/** Every command of the table once and more (those of snapshots in `cli-snapshots.test.ts`), as a user types it, against a daemon with real QEMUs: what it does and what it says. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { OperationView } from "../../src/api-types/index.ts";
import { commandGroups, commandTable } from "../../src/cli/command-table.ts";
import { CliRig } from "./cli-rig.ts";
import { assertHolds, blockdevDisks } from "./service-rig.ts";

/** Commands that cannot succeed where no guest runs: here they are refused, and `quiesce.test.ts` sees them at work. */
const needGuest = ["domfsfreeze", "domfsthaw"];

const rig = new CliRig();
before(() => rig.open());
after(() => rig.close());

test("a domain is defined, started, paused, saved, restored, renamed and forgotten", async () => {
  rig.domain("vm", rig.image("vm-a"), rig.image("vm-b"));
  assert.equal(await rig.ok("define vm.xml"), "Domain 'vm' defined from vm.xml\n");
  assert.equal(await rig.ok("list"), " Id   Name   State\n--------------------\n\n");
  assert.equal(await rig.ok("list --all"), " Id   Name   State\n-----------------------\n -    vm     shut off\n\n");
  assert.equal(await rig.ok("start vm"), "Domain 'vm' started\n");
  assert.equal(await rig.ok("list"), " Id   Name   State\n----------------------\n 1    vm     running\n\n");
  const uuid = (await rig.ok("list --uuid")).trim();
  assert.match(
    await rig.ok("dumpxml vm"),
    new RegExp(`^<domain type='qemu' id='1'.*>\\n  <name>vm</name>\n  <uuid>${uuid}<`),
  );
  assert.doesNotMatch(await rig.ok("dumpxml vm --inactive"), / id='1'/);
  assert.match(
    await rig.ok(`dominfo ${uuid}`),
    /^Id: {13}1\nName: {11}vm\nUUID: {11}[-0-9a-f]{36}\nOS Type: {8}hvm\nState: {10}running\nCPU\(s\): {9}1\nCPU time: {7}\d+\.\ds\nMax memory: {5}32768 KiB\nUsed memory: {4}32768 KiB\nPersistent: {5}yes\nAutostart: {6}disable\nManaged save: {3}no\n$/,
  );
  assert.equal(await rig.ok("suspend vm"), "Domain 'vm' suspended\n");
  assert.equal(await rig.ok("domstate vm --reason"), "paused (user)\n");
  assert.equal(await rig.ok("resume --domain vm"), "Domain 'vm' resumed\n");
  assert.equal(await rig.ok("domstate vm"), "running\n");
  assert.equal(await rig.ok("save vm vm.save --paused --verbose"), "Domain 'vm' saved to vm.save\n");
  assert.equal(await rig.ok("list --all --inactive --name"), "vm\n");
  assert.equal(await rig.ok("restore vm.save"), "Domain restored from vm.save\n");
  assert.equal(await rig.ok("domstate vm"), "paused\n");
  await rig.ok("resume vm");
  assert.match(await rig.fails("domfsfreeze vm"), /guest agent of domain 'vm'/);
  assert.match(await rig.fails("domfsthaw vm"), /guest agent of domain 'vm'/);
  const asked = await rig.look("vm", async (eye) => {
    const events: string[] = [];
    eye.onEvent(({ event }) => void events.push(event));
    assert.equal(await rig.ok("shutdown vm --mode acpi"), "Domain 'vm' is being shutdown\n");
    assert.equal(await rig.ok("reboot vm"), "Domain 'vm' is being rebooted\n");
    await eye.execute("query-status");
    return events;
  });
  assert.deepEqual(asked, ["POWERDOWN", "POWERDOWN"]);
  assert.equal(await rig.ok("destroy vm"), "Domain 'vm' destroyed\n");
  assert.equal(await rig.ok("domstate vm"), "shut off\n");
  assert.equal(await rig.ok("domrename vm --new-name other"), "Domain successfully renamed\n");
  assert.equal(await rig.ok("undefine other"), "Domain 'other' has been undefined\n");
  assert.equal(await rig.ok("list --all --name"), "");
  assert.equal(await rig.ok("create vm.xml"), "Domain 'vm' created from vm.xml\n");
  assert.match(await rig.ok("dominfo vm"), /^Persistent: +no$/m);
  await rig.ok("destroy vm");
  assert.equal(await rig.ok("list --all --name"), "", "a transient domain is gone when it ends");
});

test("a QEMU that somebody else started is attached and let go", async () => {
  const foreign = await rig.files.startForeign(blockdevDisks({ d0: rig.image("foreign.qcow2") }));
  assert.equal(await rig.ok(`attach ${foreign.socket} --name theirs`), "Domain 'theirs' attached\n");
  assert.equal(
    await rig.ok("domblklist theirs"),
    ` Target   Source\n${"-".repeat(rig.path("images/foreign.qcow2").length + 12)}\n d0       ${rig.path("images/foreign.qcow2")}\n\n`,
  );
  assert.equal(await rig.ok("detach theirs"), "Domain 'theirs' detached\n");
  assert.equal(await rig.ok("list --all --name"), "");
  assert.equal((await foreign.eye.execute("query-status")).status, "prelaunch", "it goes on");
});

test("disks are listed, measured, resized, plugged and unplugged", async () => {
  await rig.define("disks", { sda: true });
  const [a, b] = await rig.sources("disks");
  assert.deepEqual([a, b], [rig.path("images/disks-a"), rig.path("images/disks-b")]);
  assert.match(
    await rig.ok("domblklist disks --details"),
    /^ Type +Device +Target +Source +Mirror\n-+\n file +disk +vda +\S+\/disks-a +-\n file +disk +sda +\S+\/disks-b +-\n\n$/,
  );
  // As a guest's device does, `aio_write` counts what it writes.
  for (const what of ["aio_write -P 7 0 64k", "aio_flush"]) {
    const command = `qemu-io -d /machine/peripheral/vda/virtio-backend "${what}"`;
    await rig.look("disks", (eye) => eye.execute("human-monitor-command", { "command-line": command }));
  }
  assert.match(
    await rig.ok("domblkstat disks vda"),
    /^vda rd_req \d+\nvda rd_bytes \d+\nvda wr_req 1\nvda wr_bytes 65536\nvda flush_operations \d+\n/,
  );
  assert.match(
    await rig.ok("domblkstat disks --human vda"),
    /^Device: vda\n number of read operations: {6}\d+\n(.*\n){2} number of bytes written: {8}65536\n/,
  );
  assert.match(await rig.ok("domblkstat disks"), /^ rd_req \d+\n(.*\n){2} wr_bytes 65536\n/);
  assert.match(await rig.ok("domblkinfo disks vda"), /^Capacity: {7}8388608\nAllocation: {5}\d+\nPhysical: {7}\d+\n$/);
  assert.match(
    await rig.ok("domblkinfo disks --all --human"),
    /^ Target +Capacity +Allocation +Physical\n-+\n vda +8\.000 MiB +\d+\.\d{3} KiB/,
  );
  assert.equal(await rig.ok("blockresize disks vda 16M"), "Block device 'vda' is resized\n");
  assert.match(await rig.ok(`domblkinfo disks ${a}`), /^Capacity: +16777216\n/);

  const disk = ["attach-disk", "disks", rig.image("extra"), "sdb", "--subdriver", "qcow2"].join(" ");
  const xml = `<disk type='file'>\n  <driver type='qcow2'/>\n  <source file='${rig.path("images/extra")}'/>\n  <target dev='sdb'/>\n</disk>\n`;
  assert.equal(await rig.ok(`${disk} --print-xml`), xml);
  assert.equal(await rig.ok(`${disk} --live`), "Disk attached successfully\n");
  assert.match(await rig.ok("dumpxml disks"), /\/extra'/);
  assert.doesNotMatch(await rig.ok("dumpxml disks --inactive"), /\/extra'/);
  assert.equal(await rig.ok("detach-disk disks sdb --live"), "Disk detached successfully\n");
  assert.equal((await rig.sources("disks")).length, 2);
  await rig.ok(`${disk} --persistent`);
  assert.match(await rig.ok("dumpxml disks --inactive"), /\/extra'/);
  await rig.ok("detach-disk disks --target sdb --persistent");
  await rig.ok(`${disk} --config`);
  assert.equal((await rig.sources("disks")).length, 2);
  await rig.ok("detach-disk disks sdb --config");
  await rig.ok("destroy disks");
});

test("a disk is copied, and its layers are merged", async () => {
  await rig.define("layers");
  const copy = (name: string, ...options: string[]) =>
    ["blockcopy", "layers", "vda", rig.path("images", name), ...options].join(" ");
  assert.equal(await rig.ok("blockjob layers vda"), "No current block job for vda\n");
  assert.equal(await rig.ok(copy("copy1", "--wait", "--verbose")), "Now in mirroring phase\n");
  assert.equal(await rig.ok("blockjob layers vda --info"), "Block Copy: [100.00 %]\n");
  assert.equal(await rig.ok("blockjob layers"), "vda: Block Copy: [100.00 %]\n");
  assert.match(await rig.ok("blockjob layers vda --raw"), /^ type=Block Copy\n bandwidth=0\n cur=(\d+)\n end=\1\n$/);
  assert.equal(await rig.ok("blockjob layers vda --bandwidth 2"), "");
  assert.match(
    await rig.ok("blockjob layers vda"),
    /^Block Copy: \[100\.00 %\] {4}Bandwidth limit: 2097152 bytes\/s \(2\.000 MiB\/s\)\n$/,
  );
  assert.equal(await rig.ok("blockjob layers vda --abort"), "");
  assert.deepEqual(await rig.sources("layers"), [rig.path("images/layers-a")]);
  await rig.write("layers", 1, 0);
  assert.equal(await rig.ok(copy("copy2", "--pivot", "--format", "qcow2")), "Successfully pivoted\n");
  assert.deepEqual(await rig.sources("layers"), [rig.path("images/copy2")]);
  assert.equal(await rig.ok(copy("copy3", "--finish")), "Successfully copied\n");

  const grow = async (name: string, pattern: number) => {
    await rig.ok(`snapshot-create-as layers ${name} --no-metadata --disk-only`);
    await rig.write("layers", pattern, pattern * 64);
  };
  for (const [index, name] of ["l1", "l2", "l3"].entries()) await grow(name, index + 2);
  assert.equal(await rig.ok("snapshot-list layers --name"), "");
  const layer = (name: string) => rig.path("images", `copy2.${name}`);
  assert.equal(
    await rig.ok(`blockcommit layers vda --top ${layer("l2")} --shallow --wait --verbose`),
    "Commit complete\n",
  );
  assert.equal(
    await rig.ok(`blockpull layers vda --base ${rig.path("images/copy2")} --wait --verbose`),
    "Pull complete\n",
  );
  assert.deepEqual(await rig.sources("layers"), [layer("l3")]);
  assert.equal(await rig.ok("blockcommit layers vda --active --pivot"), "Successfully pivoted\n");
  assert.deepEqual(await rig.sources("layers"), [rig.path("images/copy2")]);
  await rig.ok("destroy layers");
  for (const [pattern, offsetKib] of [
    [1, 0],
    [2, 128],
    [3, 192],
    [4, 256],
  ] as const)
    assertHolds(rig.path("images/copy2"), pattern, offsetKib);
  assertHolds(rig.path("images/copy3"), 1, 0);
});

test("storage is cloned and moved; operations are listed, watched and cancelled; events are told", async () => {
  await rig.define("move", { sda: true });
  await rig.write("move", 5, 0);
  for (const name of ["clone/", "moved/", "slow/"]) rig.files.image(name);
  assert.equal(
    await rig.ok("clone-storage move --to images/clone --flatten --verify"),
    `Storage of domain 'move' cloned to ${rig.path("images/clone")}\n`,
  );
  assertHolds(rig.path("images/clone/move-a"), 5, 0);
  assert.equal(
    await rig.ok("migrate-storage move --to images/moved --disk vda --keep-source"),
    `Storage of domain 'move' migrated to ${rig.path("images/moved")}\n`,
  );
  assert.deepEqual(await rig.sources("move"), [rig.path("images/moved/move-a"), rig.path("images/move-b")]);
  assert.ok(rig.exists("images/move-a"));
  assert.match(
    await rig.ok("operation-list move"),
    /^ Id +Kind +Domain +State +Step +Done +Started\n-+\n \w+ +migrate-storage +move +succeeded .*\n \w+ +clone-storage +move +succeeded .*\n\n$/,
  );

  const begun = await rig.ok("migrate-storage move --to images/slow --disk vda --bandwidth 1B --detach");
  const id = /^Operation (\w+) has begun; `qmirror operation-watch \1` watches it\n$/.exec(begun)?.[1] ?? "";
  assert.match(await rig.ok("operation-list --running"), new RegExp(`^ ${id} +migrate-storage +move +running `, "m"));
  assert.match(await rig.ok("blockjob move"), new RegExp(`^migrate-storage ${id}: `));
  const watched = rig.run(["operation-watch", id]);
  assert.equal(await rig.ok(`operation-cancel ${id}`), "migrate-storage of domain 'move' is cancelled\n");
  const ended = await watched;
  assert.deepEqual([ended.code, ended.stdout], [130, ""]);
  assert.match(ended.stderr, /^error: .*cancelled\n/m);
  assert.match(
    await rig.ok("operation-watch " + (await lastOperation("clone-storage"))),
    /^clone-storage of domain 'move' succeeded\n$/,
  );
  assert.deepEqual(await rig.sources("move"), [rig.path("images/moved/move-a"), rig.path("images/move-b")]);

  const events = await rig.listen("events move --since 0", /kind=migrate-storage state=cancelled/);
  assert.match(events, /^[-0-9]{10} [:0-9]{8} \+\d{4}: event 'lifecycle' for domain 'move': event=defined\n/);
  await rig.ok("destroy move");
});

async function lastOperation(kind: string): Promise<string> {
  const operations = JSON.parse(await rig.ok("operation-list --json")) as OperationView[];
  return operations.find((operation) => operation.kind === kind)?.id ?? "";
}

test("what is said about this machine, and to the shell", async () => {
  assert.match(await rig.ok("doctor"), /^ok +node +Node /);
  assert.equal(await rig.ok("recover disks"), "Every operation has its end, and nothing is left over\n");
  assert.match(await rig.ok("completion bash"), /complete .*qmirror/);
});

test("every command of the table was run, here or in cli-snapshots.test.ts", () => {
  const there = commandGroups["Snapshots"] ?? {};
  const missing = Object.keys(commandTable).filter((name) => !rig.succeeded.has(name) && !Object.hasOwn(there, name));
  assert.deepEqual(missing, needGuest);
});
