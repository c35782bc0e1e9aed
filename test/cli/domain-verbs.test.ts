import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { formatDiskXml } from "../../src/cli/disk-xml.ts";
import { runCli } from "./run-cli.ts";
import { serveCli } from "./serve-cli.ts";

type Cli = Awaited<ReturnType<typeof serveCli>>["cli"];

/** What the command printed; it has to succeed. */
async function print(cli: Cli, ...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await cli(...argv);
  assert.deepEqual([code, stderr], [0, ""], argv.join(" "));
  return stdout;
}

async function assertRefused(cli: Cli, argv: readonly string[], code: number, words: RegExp): Promise<void> {
  const answer = await cli(...argv);
  assert.deepEqual([answer.code, answer.stdout], [code, ""], argv.join(" "));
  assert.match(answer.stderr, words);
}

test("suspend, resume, reboot, shutdown", async () => {
  await using s = await serveCli();
  s.facade.addDomain("vm");
  assert.equal(await print(s.cli, "suspend", "vm"), "Domain 'vm' suspended\n");
  assert.equal(await print(s.cli, "domstate", "--domain", "vm"), "paused\n");
  assert.match(await print(s.cli, "resume", "vm", "--json"), /^\{"name":"vm".*"state":"running"/);
  await assertRefused(s.cli, ["resume", "vm"], 1, /already running/);

  assert.equal(await print(s.cli, "reboot", "vm", "--mode", "acpi"), "Domain 'vm' is being rebooted\n");
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", { modes: ["acpi"] }]);
  assert.equal(await print(s.cli, "shutdown", "vm", "--mode=agent,acpi"), "Domain 'vm' is being shutdown\n");
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", { modes: ["agent", "acpi"] }]);
  await assertRefused(s.cli, ["shutdown", "vm", "--mode", "initctl"], 2, /'initctl' is unknown/);
  await assertRefused(s.cli, ["shutdown", "vm", "--mode", "acpi,acpi"], 2, /names a way twice/);
  await assertRefused(s.cli, ["shutdown", "vm"], 1, /not running/);
  assert.equal(await print(s.cli, "domstate", "vm", "--reason"), "shut off (shutdown)\n");
  assert.deepEqual(JSON.parse(await print(s.cli, "domstate", "vm", "--json")), {
    state: "shut off",
    reason: "shutdown",
  });
});

test("save and restore, with files beside the user", async () => {
  await using s = await serveCli();
  s.facade.addDomain("vm");
  await writeFile(join(s.directory, "new.xml"), "<domain/>");
  const file = join(s.directory, "vm.save");
  const saved = await print(s.cli, "save", "vm", "vm.save", "--paused", "--xml", "new.xml");
  assert.equal(saved, "Domain 'vm' saved to vm.save\n");
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", { file, paused: true, xml: "<domain/>" }]);
  assert.equal(await print(s.cli, "restore", "--file", "vm.save"), "Domain restored from vm.save\n");
  assert.equal(await print(s.cli, "domstate", "vm"), "paused\n");
  await assertRefused(s.cli, ["save", "vm", "f", "--paused", "--running"], 2, /--running and --paused/);
  await assertRefused(s.cli, ["restore", "f", "--paused", "--running"], 2, /--running and --paused/);
  await assertRefused(s.cli, ["restore", "none"], 1, /none does not fit/);
  await assertRefused(s.cli, ["restore", "vm.save", "--xml", "none.xml"], 1, /none\.xml/);
  await assertRefused(s.cli, ["save", "vm", "f", "--bypass-cache"], 1, /--bypass-cache is not supported: QEMU writes/);
  await assertRefused(s.cli, ["restore", "f", "--reset-nvram"], 1, /--reset-nvram is not supported/);

  const json = JSON.parse(await print(s.cli, "save", "vm", "f", "--json")) as { kind: string };
  assert.equal(json.kind, "save");
});

test("save --verbose shows the progress of the save, and of no earlier one", async () => {
  await using s = await serveCli();
  s.facade.addDomain("vm", { uuid: "u-1" });
  await s.facade.saveDomain("vm", { file: "/earlier" });
  s.facade.addDomain("vm", { uuid: "u-1" });
  const { promise, resolve } = Promise.withResolvers<void>();
  s.facade.gate = promise;
  const watch = s.facade.watchOperation.bind(s.facade);
  s.facade.watchOperation = async function* (id, signal) {
    for await (const view of watch(id, signal)) {
      yield view;
      setImmediate(resolve);
    }
  };
  const { code, stdout, stderr } = await s.cli("save", "u-1", "f", "--verbose");
  assert.deepEqual([code, stdout], [0, "Domain 'u-1' saved to f\n"]);
  assert.match(stderr, /^copy: 0\.0 % \(0 B of 1\.0 GiB, vda\)\n/);
});

test("dominfo has virsh's lines", async () => {
  await using s = await serveCli();
  s.facade.addDomain("vm", { uuid: "u-1" });
  s.facade.addDomain("off", { id: null, state: "shut off", persistent: false });
  assert.equal(
    await print(s.cli, "dominfo", "vm"),
    [
      "Id:             1",
      "Name:           vm",
      "UUID:           u-1",
      "OS Type:        hvm",
      "State:          running",
      "CPU(s):         2",
      "CPU time:       12.3s",
      "Max memory:     524288 KiB",
      "Used memory:    262144 KiB",
      "Persistent:     yes",
      "Autostart:      disable",
      "Managed save:   no",
      "",
    ].join("\n"),
  );
  const off = await print(s.cli, "dominfo", "off");
  assert.match(off, /^Id: +-$/m);
  assert.match(off, /^Persistent: +no$/m);
  assert.doesNotMatch(off, /CPU time/);
  assert.partialDeepStrictEqual(JSON.parse(await print(s.cli, "dominfo", "off", "--json")), { id: null, vcpus: 2 });
});

test("domblkinfo: one disk by target or path, or all of them", async () => {
  await using s = await serveCli();
  s.facade.addDomain("vm");
  const plain = "Capacity:       1073741824\nAllocation:     1572864\nPhysical:       1048576\n";
  assert.equal(await print(s.cli, "domblkinfo", "vm", "vda"), plain);
  assert.equal(await print(s.cli, "domblkinfo", "vm", "--device", "/ssd/vda.qcow2"), plain);
  assert.match(await print(s.cli, "domblkinfo", "vm", "vda", "--human"), /^Allocation: +1\.500 MiB$/m);
  assert.equal(
    await print(s.cli, "domblkinfo", "vm", "--all"),
    [
      " Target   Capacity     Allocation   Physical",
      "----------------------------------------------",
      " vda      1073741824   1572864      1048576",
      " sda      -            -            -",
      "",
      "",
    ].join("\n"),
  );
  assert.equal((JSON.parse(await print(s.cli, "domblkinfo", "vm", "--all", "--json")) as unknown[]).length, 1);
  await assertRefused(s.cli, ["domblkinfo", "vm"], 2, /--device or --all is required/);
  await assertRefused(s.cli, ["domblkinfo", "vm", "vda", "--all"], 2, /--device and --all are mutually exclusive/);
  await assertRefused(s.cli, ["domblkinfo", "vm", "/none"], 1, /no disk '\/none'\nnext: its disks are: vda, sda/);
});

test("domblkstat: virsh's words, people's words, and the sum", async () => {
  await using s = await serveCli();
  s.facade.addDomain("vm");
  const lines = (await print(s.cli, "domblkstat", "vm", "vda")).trimEnd().split("\n");
  assert.deepEqual(lines, [
    "vda rd_req 1",
    "vda rd_bytes 2",
    "vda wr_req 3",
    "vda wr_bytes 4",
    "vda flush_operations 5",
    "vda rd_total_times 6",
    "vda wr_total_times 7",
    "vda flush_total_times 8",
  ]);
  const human = await print(s.cli, "domblkstat", "vm", "vda", "--human");
  assert.match(human, /^Device: vda\n number of read operations: {6}1\n/);
  assert.match(await print(s.cli, "domblkstat", "vm"), /^ rd_req 2$/m);
  assert.partialDeepStrictEqual(JSON.parse(await print(s.cli, "domblkstat", "vm", "vda", "--json")), { wrBytes: 4 });
  s.facade.addDomain("off", { id: null, state: "shut off" });
  await assertRefused(s.cli, ["domblkstat", "off", "vda"], 1, /not running/);
});

test("domfsfreeze and domfsthaw count file systems", async () => {
  await using s = await serveCli();
  s.facade.addDomain("vm");
  assert.equal(await print(s.cli, "domfsfreeze", "vm"), "Froze 2 filesystem(s)\n");
  assert.equal(await print(s.cli, "domfsthaw", "vm", "--mountpoint", "/home"), "Thawed 1 filesystem(s)\n");
  assert.deepEqual(JSON.parse(await print(s.cli, "domfsthaw", "vm", "--json")), { filesystems: 1 });
  await print(s.cli, "domfsfreeze", "vm", "/var", "--mountpoint", "/a b", "--mountpoint=/c");
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", ["/a b", "/c", "/var"]]);
});

test("domrename", async () => {
  await using s = await serveCli();
  s.facade.addDomain("vm", { id: null, state: "shut off" });
  s.facade.addDomain("taken");
  assert.equal(await print(s.cli, "domrename", "--domain", "vm", "--new-name", "db"), "Domain successfully renamed\n");
  assert.match(await print(s.cli, "domrename", "db", "web", "--json"), /"name":"web"/);
  await assertRefused(s.cli, ["domrename", "web", "taken"], 1, /'taken' already exists/);
  await assertRefused(s.cli, ["domrename", "taken", "x"], 1, /renaming it is not possible/);
  assert.equal((await runCli(["domrename", "web"])).code, 2);
});

test("attach-disk describes the disk, detach-disk takes it away again", async () => {
  await using s = await serveCli();
  s.facade.addDomain("vm");
  const path = join(s.directory, "a&b.qcow2");
  const argv = ["attach-disk", "vm", "a&b.qcow2", "vdb", "--subdriver", "qcow2", "--cache", "none", "--io", "native"];
  const more = ["--driver", "qemu", "--targetbus", "virtio", "--mode", "readonly", "--serial", "<1>"];
  const xml = await print(s.cli, ...argv, ...more, "--print-xml");
  assert.equal(
    xml,
    [
      `<disk type='file'>`,
      `  <driver name='qemu' type='qcow2' cache='none' io='native'/>`,
      `  <source file='${path.replace("&", "&#38;")}'/>`,
      `  <target dev='vdb' bus='virtio'/>`,
      `  <readonly/>`,
      `  <serial>&#60;1&#62;</serial>`,
      "</disk>",
      "",
    ].join("\n"),
  );
  assert.equal(s.facade.requests.length, 0);
  assert.equal(await print(s.cli, ...argv, ...more, "--persistent", "--live"), "Disk attached successfully\n");
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", { xml, persistent: true, live: true }]);
  const cdrom = ["attach-disk", "vm", "", "sdb", "--type", "cdrom", "--sourcetype", "block", "--print-xml"];
  assert.equal(await print(s.cli, ...cdrom), `<disk type='block' device='cdrom'>\n  <target dev='sdb'/>\n</disk>\n`);

  for (const [wrong, words] of [
    [["--mode", "shareable"], /shareable is refused: a disk that others write to/],
    [["--mode", "rw"], /'rw' is unknown/],
    [["--type", "lun"], /Allowed choices are disk, cdrom/],
    [["--sourcetype", "network"], /Allowed choices are file, block/],
    [["--current", "--live"], /--current and --live are mutually exclusive/],
    [["--current", "--persistent"], /--current and --persistent are mutually exclusive/],
  ] as const) {
    await assertRefused(s.cli, ["attach-disk", "vm", "x", "vdc", ...wrong], 2, words);
  }

  assert.equal(await print(s.cli, "detach-disk", "vm", "vdb", "--config"), "Disk detached successfully\n");
  assert.deepEqual(s.facade.requests.at(-1)?.args, ["vm", "vdb", { config: true }]);
  await assertRefused(s.cli, ["detach-disk", "vm", "vdb"], 1, /no disk 'vdb'/);
  await assertRefused(s.cli, ["detach-disk", "vm", "vda", "--current", "--config"], 2, /mutually exclusive/);
  const byPath = await print(s.cli, "detach-disk", "vm", "--target", "/ssd/vda.qcow2", "--json");
  assert.deepEqual(JSON.parse(byPath), { domain: "vm", target: "vda" });
});

test("nothing that a user writes can leave its place in the disk's XML", () => {
  const xml = formatDiskXml({
    source: `"/><source file='x'/>\n\t`,
    sourceType: "file",
    target: `a"b`,
    serial: "]]></serial>",
    readonly: false,
  });
  assert.equal(xml.match(/<[a-z]/g)?.length, 4);
  assert.ok(xml.includes(`file='&#34;/&#62;&#60;source file=&#39;x&#39;/&#62;&#10;&#9;'`));
  assert.ok(xml.includes("<serial>]]&#62;&#60;/serial&#62;</serial>"));
});
