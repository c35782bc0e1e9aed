/** Every command of the table once and more, as a user types it, against a daemon with real QEMUs: what it does and what it says. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import type { OperationView } from "../../src/api-types/index.ts";
import { commandTable } from "../../src/cli/command-table.ts";
import { CliRig } from "./cli-rig.ts";
import { assertHolds, blockdevDisks, writeThroughDevice } from "./service-rig.ts";

/** Commands that cannot succeed where no guest runs: here they are refused, and `quiesce.test.ts` sees them at work. */
const needGuest = ["domfsfreeze", "domfsthaw"];

const rig = new CliRig();
before(() => rig.open());
after(() => rig.close());

function image(name: string, size = "8M"): string {
  return rig.files.createImage(name, { size });
}

/** `define`, and `start` when `runs`. */
async function define(name: string, disks: { sda?: boolean; runs?: boolean } = {}): Promise<void> {
  const sda = disks.sda === true ? image(`${name}-b`) : undefined;
  rig.domain(name, image(`${name}-a`), sda);
  await rig.ok(`define ${name}.xml`);
  if (disks.runs !== false) await rig.ok(`start ${name}`);
}

async function write(domain: string, pattern: number, offsetKib: number): Promise<void> {
  await writeThroughDevice(await rig.files.watch(domain), "vda", pattern, offsetKib);
}

test("a domain is defined, started, paused, saved, restored, renamed and forgotten", async () => {
  rig.domain("vm", image("vm-a"), image("vm-b"));
  assert.equal(await rig.ok("define vm.xml"), "Domain 'vm' defined from vm.xml\n");
  assert.equal(await rig.ok("list"), " Id   Name   State\n--------------------\n\n");
  assert.equal(await rig.ok("list --all"), " Id   Name   State\n-----------------------\n -    vm     shut off\n\n");
  assert.equal(await rig.ok("start vm"), "Domain 'vm' started\n");
  assert.equal(await rig.ok("list"), " Id   Name   State\n----------------------\n 1    vm     running\n\n");
  const uuid = (await rig.ok("list --uuid")).trim();
  assert.match(await rig.ok("dumpxml vm"), new RegExp(`^<domain type='qemu' id='1'.*>\\n  <name>vm</name>\n  <uuid>${uuid}<`));
  assert.doesNotMatch(await rig.ok("dumpxml vm --inactive"), / id='1'/);
  assert.match(
    await rig.ok(`dominfo ${uuid}`),
    /^Id: {13}1\nName: {11}vm\nUUID: {11}[-0-9a-f]{36}\nOS Type: {8}hvm\nState: {10}running\nCPU\(s\): {9}1\nCPU time: {7}\d+\.\ds\nMax memory: {5}32768 KiB\nUsed memory: {4}32768 KiB\nPersistent: {5}yes\nAutostart: {6}disable\nManaged save: {3}no\n$/,
  );
  assert.equal(await rig.ok("suspend vm"), "Domain 'vm' suspended\n");
  assert.equal(await rig.ok("domstate vm --reason"), "paused (user)\n");
  assert.equal(await rig.ok("resume --domain vm"), "Domain 'vm' resumed\n");
  assert.equal(await rig.ok("domstate vm"), "running\n");
  assert.equal(await rig.ok("save vm vm.save --paused --verbose"), `Domain 'vm' saved to ${rig.path("vm.save")}\n`);
  assert.equal(await rig.ok("list --all --inactive --name"), "vm\n");
  assert.equal(await rig.ok("restore vm.save"), `Domain restored from ${rig.path("vm.save")}\n`);
  assert.equal(await rig.ok("domstate vm"), "paused\n");
  await rig.ok("resume vm");
  assert.match(await rig.fails("domfsfreeze vm"), /guest agent of domain 'vm'/);
  assert.match(await rig.fails("domfsthaw vm"), /guest agent of domain 'vm'/);
  const eye = await rig.files.watch("vm");
  const asked: string[] = [];
  eye.onEvent(({ event }) => void asked.push(event));
  assert.equal(await rig.ok("shutdown vm --mode acpi"), "Domain 'vm' is being shutdown\n");
  assert.equal(await rig.ok("reboot vm"), "Domain 'vm' is being rebooted\n");
  await eye.execute("query-status");
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
  const foreign = await rig.files.startForeign(blockdevDisks({ d0: image("foreign.qcow2") }));
  assert.equal(await rig.ok(`attach ${foreign.socket} --name theirs`), "Domain 'theirs' attached\n");
  assert.equal(await rig.ok("domblklist theirs"), ` Target   Source\n---${"-".repeat(rig.path("images/foreign.qcow2").length + 12)}\n d0       ${rig.path("images/foreign.qcow2")}\n\n`);
  assert.equal(await rig.ok("detach theirs"), "Domain 'theirs' detached\n");
  assert.equal(await rig.ok("list --all --name"), "");
  assert.equal((await foreign.eye.execute("query-status")).status, "prelaunch", "it goes on");
});
