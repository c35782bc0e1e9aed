/** libvirt's own command line, as Debian ships it, on our daemon. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { loadLibvirtSchema } from "./libvirt-schema.ts";
import { VirshRig } from "./virsh-rig.ts";

const rig = new VirshRig();
before(() => rig.open());
after(() => rig.close());

/** Columns of a table's rows. */
function rows(text: string): string[][] {
  return text.split("\n").map((line) => line.trim().split(/ {2,}/));
}

/** `Name: value` lines. */
function facts(text: string): Record<string, string> {
  return Object.fromEntries(text.split("\n").map((line) => line.split(/: +/) as [string, string]));
}

async function sources(domain: string): Promise<string[]> {
  return rows(await rig.ok(`domblklist ${domain}`)).map(([, path = ""]) => path);
}

test("the connection and the host", async () => {
  assert.match(await rig.ok("version"), /Using API: QEMU 9\.0\.0\nRunning hypervisor: QEMU \d+\.\d+\.\d+/);
  assert.match(await rig.ok("uri"), /^qemu\+unix:\/\/\/system/);
  const capabilities = await rig.ok("capabilities");
  assert.match(capabilities, /<domain type='qemu'\/>/);
  loadLibvirtSchema("capability")(capabilities);
  assert.match(await rig.ok("nodeinfo"), /CPU model: +x86_64/);
  for (const kind of ["net", "pool", "iface", "nodedev", "nwfilter", "secret"]) {
    const all = kind === "nodedev" || kind === "nwfilter" || kind === "secret" ? "" : " --all";
    assert.equal(await rig.ok(`${kind}-list${all}`), "", kind);
  }
});

test("a domain's life, from define to undefine", async () => {
  const file = rig.domain("life", ["life-a", "life-b"]);
  await rig.ok(`define ${file}`);
  assert.deepEqual(rows(await rig.ok("list --all")), [["-", "life", "shut off"]]);
  assert.equal(await rig.ok("list"), "");
  await rig.ok("start life");
  const uuid = await rig.ok("domuuid life");
  const id = await rig.ok("domid life");
  assert.deepEqual(rows(await rig.ok("list")), [[id, "life", "running"]]);
  assert.equal(await rig.ok(`domname ${uuid}`), "life");
  const info = facts(await rig.ok("dominfo life"));
  assert.match(info["CPU time"] ?? "", /^\d+\.\d+s$/);
  delete info["CPU time"];
  assert.deepEqual(info, {
    ...{ Id: id, Name: "life", UUID: uuid, "OS Type": "hvm", State: "running", "CPU(s)": "1" },
    ...{ "Max memory": "32768 KiB", "Used memory": "32768 KiB", Persistent: "yes" },
    ...{ Autostart: "disable", "Managed save": "no" },
  });
  await rig.ok("suspend life");
  assert.equal(await rig.ok("domstate --reason life"), "paused (user)");
  await rig.ok("resume life");
  assert.equal(await rig.ok("domstate life"), "running");
  assert.match(await rig.ok("dumpxml life"), new RegExp(`<domain type='qemu' id='${id}'`));
  assert.doesNotMatch(await rig.ok("dumpxml --inactive life"), / id='/);
  assert.match(await rig.fails("undefine nope"), /failed to get domain 'nope'/);
  assert.match(await rig.fails("destroy life", true), /read only access prevents/);
  await rig.ok("destroy life");
  await rig.ok("domrename life lives");
  await rig.ok("undefine lives");
  assert.equal(await rig.ok("list --all"), "");
});

test("a transient domain is gone when it ends", async () => {
  await rig.ok(`create ${rig.domain("guest", ["guest-a"])}`);
  assert.equal(facts(await rig.ok("dominfo guest"))["Persistent"], "no");
  await rig.ok("destroy guest");
  assert.equal(await rig.ok("list --all"), "");
});

test("what is not supported is refused by name, and nothing else happens", async () => {
  await rig.ok(`define ${rig.domain("plain", ["plain-a"])}`);
  assert.match(await rig.fails("vcpuinfo plain"), /procedure 230 is not supported/);
  assert.match(await rig.fails("start --paused plain"), /unsupported flags \(0x1\)/);
  assert.match(await rig.fails("autostart plain"), /autostart is not supported/);
  assert.match(await rig.fails("domfsfreeze plain"), /is not running/);
  await rig.ok("undefine plain");
});

test("disks: their list, sizes and counters, resized, saved with the memory and restored", async () => {
  await rig.ok(`define ${rig.domain("disks", ["disks-a", "disks-b"])}`);
  await rig.ok("start disks");
  assert.deepEqual(rows(await rig.ok("domblklist disks")), [
    ["vda", rig.path("images", "disks-a.qcow2")],
    ["vdb", rig.path("images", "disks-b.qcow2")],
  ]);
  const before = facts(await rig.ok("domblkinfo disks vda"));
  await rig.ok("blockresize disks vda 64M");
  const after = facts(await rig.ok("domblkinfo disks vda"));
  assert.notEqual(before["Capacity"], after["Capacity"]);
  assert.equal(after["Capacity"], String(64 * 1024 * 1024));
  const extra = rig.files.createImage("extra.qcow2");
  await rig.ok(`attach-disk disks ${extra} vdc --subdriver qcow2 --targetbus virtio --config`);
  assert.deepEqual(rows(await rig.ok("domblklist disks --inactive")).at(-1), ["vdc", extra]);
  await rig.ok("detach-disk disks vdc --config");
  assert.equal(rows(await rig.ok("domblklist disks --inactive")).length, 2);
  assert.match(await rig.ok("domblkstat disks vda"), /^vda rd_req \d+$/m);
  const stats = await rig.ok("domstats disks");
  assert.match(stats, /^ {2}state\.state=1$/m);
  assert.match(stats, /^ {2}block\.count=2$/m);
  assert.match(stats, /^ {2}block\.0\.capacity=67108864$/m);
  assert.equal(facts(await rig.ok("domjobinfo disks"))["Job type"]?.trim(), "None");
  await rig.ok(`save disks ${rig.path("disks.mem")}`);
  assert.equal(await rig.ok("domstate disks"), "shut off");
  await rig.ok(`restore ${rig.path("disks.mem")}`);
  assert.equal(await rig.ok("domstate disks"), "running");
  await rig.ok("destroy disks");
  await rig.ok("undefine disks");
});

test("snapshots: taken, listed, described, gone back to and deleted", async () => {
  await rig.ok(`define ${rig.domain("snaps", ["snaps-a", "snaps-b"])}`);
  await rig.ok("start snaps");
  assert.match(await rig.fails("snapshot-current snaps"), /domain 'snaps' has no current snapshot/);
  await rig.ok("snapshot-create-as snaps one --disk-only --atomic");
  await rig.ok("snapshot-create-as snaps two words --disk-only");
  await rig.ok(`snapshot-create-as snaps three --disk-only --diskspec vdb,snapshot=no`);
  assert.equal(await rig.ok("snapshot-list snaps --tree"), "one\n  |\n  +- two\n      |\n      +- three");
  assert.equal(await rig.ok("snapshot-list snaps --name --roots"), "one");
  assert.equal(await rig.ok("snapshot-list snaps --name --from one"), "two");
  assert.equal(await rig.ok("snapshot-list snaps --name --topological --from one --descendants"), "two\nthree");
  const table = rows(await rig.ok("snapshot-list snaps --parent"));
  assert.deepEqual(
    table.map(([name, , state, parent]) => [name, state, parent]),
    [
      ["one", "disk-snapshot", undefined],
      ["three", "disk-snapshot", "two"],
      ["two", "disk-snapshot", "one"],
    ],
  );
  assert.deepEqual(facts(await rig.ok("snapshot-info snaps one")), {
    ...{ Name: "one", Domain: "snaps", Current: "no", State: "disk-snapshot", Location: "external" },
    ...{ Parent: "-", Children: "1", Descendants: "2", Metadata: "yes" },
  });
  assert.equal(await rig.ok("snapshot-current snaps --name"), "three");
  assert.equal(await rig.ok("snapshot-parent snaps two"), "one");
  assert.match(await rig.fails("snapshot-parent snaps one"), /snapshot 'one' has no parent/);
  assert.match(await rig.fails("snapshot-info snaps nope"), /has no snapshot 'nope'/);
  assert.match(await rig.ok("snapshot-dumpxml snaps two"), /<description>words<\/description>/);
  await rig.ok("snapshot-delete snaps three");
  await rig.ok("snapshot-delete snaps one --metadata");
  await rig.ok("snapshot-revert snaps two --running");
  assert.equal(await rig.ok("domstate snaps"), "running");
  await rig.ok("destroy snaps");
  assert.match(await rig.fails("undefine snaps"), /has 1 snapshot|Refusing to undefine/);
  await rig.ok("undefine snaps --snapshots-metadata");
});

const mirrors = (name: string, targets: readonly string[]) => {
  const disk = (target: string) => `<disk name='${target}' snapshot='external'>
    <source file='${rig.path("images", `${target}.${name}`)}'/>
    <mirror file='${rig.path("images", `${target}.${name}.mirror`)}'/></disk>`;
  const xml = `<domainsnapshot><name>${name}</name><disks>${targets.map(disk).join("")}</disks></domainsnapshot>`;
  return rig.write(`${name}.xml`, xml);
};

test("a mirrored snapshot of two disks is made by virsh, and pivoted and aborted by libvirt-python", async () => {
  await rig.ok(`define ${rig.domain("web", ["web-a", "web-b"])}`);
  await rig.ok("start web");
  const begin = await sources("web");
  const script = (name: string, flag: number): string =>
    [
      "import libvirt, sys",
      "d = libvirt.open(sys.argv[1]).lookupByName('web')",
      `d.snapshotLookupByName('${name}').delete(${flag})`,
    ].join("\n");

  await rig.ok(`snapshot-create web ${mirrors("m1", ["vda", "vdb"])} --disk-only --atomic`);
  assert.equal((await rig.ok("dumpxml web")).match(/<mirror [^>]*ready='yes'/g)?.length, 2);
  assert.match(await rig.ok("snapshot-dumpxml web m1"), /<mirror [^>]*ready='yes'/);
  assert.match(await rig.ok("blockjob web vda --info --raw"), /^type=Block Copy\n bandwidth=0\n cur=(\d+)\n end=\1$/);
  assert.match(await rig.fails("blockjob web vda --pivot"), /qmirror snapshot-delete web m1 --mirror-pivot/);
  await rig.python(script("m1", 1 << 29));
  assert.deepEqual(
    await sources("web"),
    ["vda.m1", "vdb.m1"].map((file) => rig.path("images", file)),
  );
  await rig.ok("snapshot-delete web m1");
  assert.deepEqual(await sources("web"), begin);

  await rig.ok(`snapshot-create web ${mirrors("m2", ["vda", "vdb"])} --disk-only --atomic`);
  await rig.python(script("m2", 1 << 30));
  assert.deepEqual(
    await sources("web"),
    ["vda.m2.mirror", "vdb.m2.mirror"].map((file) => rig.path("images", file)),
  );
  assert.doesNotMatch(await rig.ok("dumpxml web"), /<mirror/);
});

test("libvirt-python sees libvirt's error codes, and no unknown flag is let through", async () => {
  const script = `
import libvirt, sys
libvirt.registerErrorHandler(lambda *_: None, None)
d = libvirt.open(sys.argv[1]).lookupByName('web')
s = d.snapshotLookupByName('m2')
def code(call):
    try:
        call()
    except libvirt.libvirtError as error:
        return error.get_error_code()
print(code(lambda: s.delete(1 << 28)))
print(code(lambda: s.delete(1 << 29 | 1 << 30)))
print(code(lambda: s.delete(1 << 30 | 1)))
print(code(lambda: d.snapshotCreateXML('<domainsnapshot/>', 1 << 20)))
print(code(lambda: s.getParent()))
print(code(lambda: d.snapshotLookupByName('x')))
print(code(lambda: d.connect().lookupByName('x')))
print(code(lambda: d.vcpus()))
`;
  assert.deepEqual(await rig.python(script), ["8", "8", "8", "8", "72", "72", "42", "3"]);
});

test("block jobs: a copy, a merge and a pull, each waited for by its events", async () => {
  await rig.ok("snapshot-delete web m2");
  const [, second = ""] = await sources("web");
  const copy = rig.path("images", "copy.qcow2");
  await rig.ok(`blockcopy web vda ${copy} --format qcow2 --wait --pivot`);
  assert.deepEqual(await sources("web"), [copy, second]);
  await rig.ok("snapshot-create-as web layer --disk-only --no-metadata");
  const [, layer = ""] = await sources("web");
  await rig.ok("blockcommit web vda --active --wait --pivot");
  await rig.ok("blockpull web vdb --wait");
  assert.deepEqual(await sources("web"), [copy, layer]);
  assert.match(await rig.fails("blockjob web vda --abort"), /nothing is done to disk 'vda'/);
  // One word to pivot too many is forgiven after each merge, not more
  assert.match(await rig.fails("blockjob web vda --pivot"), /nothing is done to disk 'vda'/);
});

test("events are told while they happen", async () => {
  const events = rig.ok("event --all --loop --timeout 3");
  // The listener tells nobody when it listens: it is given the domain's life until it has seen one.
  let ended = false;
  void events.finally(() => (ended = true)).catch(() => undefined);
  while (!ended) {
    await rig.ok("suspend web");
    await rig.ok("resume web");
  }
  const text = await events.catch((error: unknown) => assert.fail(String(error)));
  assert.match(text, /event 'lifecycle' for domain '?web'?: Suspended Paused/);
  assert.match(text, /event 'lifecycle' for domain '?web'?: Resumed Unpaused/);
});
