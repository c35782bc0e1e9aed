/** What a user is told who asks for what cannot be: what failed, where, what to do next; with exit codes, and nothing changed. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { CliRig } from "./cli-rig.ts";

const rig = new CliRig();
before(async () => {
  await rig.open();
  rig.domain("vm", rig.files.createImage("a"), rig.files.createImage("b"));
  rig.domain("t", rig.files.createImage("t"));
  rig.save("vdq.xml", "<domainsnapshot><name>x</name><disks><disk name='vdq'/></disks></domainsnapshot>");
  rig.save("cut.xml", "<domainsnapshot><name>x</nam");
  for (const line of ["define vm.xml", "snapshot-create-as vm off --disk-only", "start vm", "create t.xml"])
    await rig.ok(line);
  await rig.ok("snapshot-create-as vm s1 --memspec images/m1");
});
after(() => rig.close());

/** All that a refused command could have changed. */
async function look(): Promise<unknown> {
  const seen = await Promise.all(
    ["list --all", "snapshot-list vm --parent", "domblklist vm --details", "blockjob vm", "dumpxml vm --inactive"].map(
      (line) => rig.ok(line),
    ),
  );
  return [
    ...seen,
    readdirSync(rig.files.directory, { encoding: "utf8", recursive: true }).toSorted((a, b) => (a < b ? -1 : 1)),
  ];
}

/** Command lines with the start of what they say after `error: `; `DIR` is the rig's directory. */
const usage = {
  "snapshot-lst vm": "unknown command 'snapshot-lst' (Did you mean snapshot-list?)",
  "snapshot-list": "missing required argument 'domain'",
  "snapshot-list vm s1 extra": "too many arguments",
  "snapshot-list vm --tre": "unknown option '--tre' (Did you mean --tree?)",
  "snapshot-list vm --tree --name": "invalid argument: --tree and --name are mutually exclusive",
  "snapshot-list vm --roots --from s1": "invalid argument: --roots and --from are mutually exclusive",
  "snapshot-list vm --descendants": "invalid argument: --descendants requires --from or --current",
  "snapshot-create-as vm s2 --live": "invalid argument: --live requires --memspec",
  "snapshot-create-as vm s2 --disk-only --memspec m":
    "invalid argument: --memspec and --disk-only are mutually exclusive",
  "snapshot-create-as vm s2 --quiesce": "invalid argument: --quiesce requires --disk-only",
  "snapshot-create-as vm s2 --diskspec vda,snapshot=maybe":
    "invalid argument: diskspec 'vda,snapshot=maybe': snapshot 'maybe'",
  "snapshot-create-as vm s2 --diskspec vda,foo=1":
    "invalid argument: diskspec 'vda,foo=1': 'foo' is none of snapshot, driver, stype, file, mirror",
  "snapshot-create-as vm a/b --disk-only": "name: must not contain '/'",
  "snapshot-create vm cut.xml": "XML is not well-formed: line 1: ",
  "snapshot-create vm vm.xml": "domain: the root element must be <domainsnapshot>",
  "snapshot-create vm --redefine": "invalid argument: --redefine requires --xmlfile",
  "snapshot-create vm vdq.xml --current": "invalid argument: --current requires --redefine",
  "snapshot-create vm vdq.xml --redefine": "domainsnapshot: has no <state>",
  "snapshot-delete vm": "invalid argument: --snapshotname or --current is required",
  "snapshot-delete vm s1 --children --children-only":
    "invalid argument: --children and --children-only are mutually exclusive",
  "snapshot-revert vm s1 --running --paused": "invalid argument: --running and --paused are mutually exclusive",
  "snapshot-current vm s1 --name": "invalid argument: --name and --snapshotname are mutually exclusive",
  "save vm f --running --paused": "invalid argument: --running and --paused are mutually exclusive",
  "undefine t": "invalid argument: domain 't' is transient: it has no definition",
  "attach-disk vm images/x sdb --current --live": "invalid argument: --current and --live are mutually exclusive",
  "attach-disk vm images/x sdb --subdriver vmdk": "<driver@type> is not supported as 'vmdk' (supported: qcow2, raw)",
  "attach-disk vm images/x vda": "invalid argument: the domain has a disk 'vda' already",
  "blockcopy vm vda images/c --pivot --finish": "invalid argument: --pivot and --finish are mutually exclusive",
  "blockcommit vm vda": "invalid argument: --top or --active or --pivot is required",
  "blockpull vm vda --base images/nope":
    "invalid argument: DIR/images/nope is not an image of disk 'vda': the chain of 'vda' is DIR/images/a.s1 > DIR/images/a.off > DIR/images/a",
  "blockjob vm vda --info --abort": "invalid argument: --info and --abort are mutually exclusive",
  "blockresize vm vda 1Q": "invalid argument: '1Q' is not a size such as 4096, 200M or 1GiB",
  "blockresize vm vda 1M": "invalid argument: disk 'vda' has 8388608 bytes: making it smaller would lose",
  "migrate-storage vm": "required option '--to <directory>' not specified",
  "shutdown vm --mode bogus": "invalid argument: --mode 'bogus' is unknown",
  "detach vm": "invalid argument: domain 'vm' was not attached: use destroy to end it",
} as const;

const noDisk = "next: its disks are: vda, sda";
const noSnapshot = "next: `qmirror snapshot-list vm` shows its snapshots";
const noDomain = "next: `qmirror list --all` shows the domains that qmirror knows";

/** The same for what is well said and cannot be done, with the whole of what there is to do next. */
const refused = {
  "snapshot-list vmm": ["no domain with matching name or uuid 'vmm'", noDomain],
  "save vmm f": ["no domain with matching name or uuid 'vmm'", noDomain],
  "snapshot-list vm --from nope": ["domain 'vm' has no snapshot 'nope'", noSnapshot],
  "snapshot-delete vm nope": ["domain 'vm' has no snapshot 'nope'", noSnapshot],
  "snapshot-revert vm nope": ["domain 'vm' has no snapshot 'nope'", noSnapshot],
  "snapshot-edit vm nope": ["domain 'vm' has no snapshot 'nope'", noSnapshot],
  "snapshot-create-as vm s1": [
    "domain 'vm' already has a snapshot 's1'",
    "next: choose another name, or delete that one with `qmirror snapshot-delete vm s1`",
  ],
  "snapshot-parent vm off": ["snapshot 'off' has no parent"],
  "snapshot-current t": ["domain 't' has no current snapshot"],
  "snapshot-delete vm s1 --mirror-pivot": ["snapshot 's1' of domain 'vm' is not mirrored"],
  "snapshot-mirror vm s1": ["snapshot 's1' of domain 'vm' is not mirrored"],
  "snapshot-create vm nope.xml": ["reading DIR/nope.xml failed: no such file or directory"],
  "snapshot-create vm vdq.xml --disk-only": ["domain 'vm' has no disk 'vdq'", noDisk],
  "snapshot-create-as vm s2 --diskspec vdq": ["domain 'vm' has no disk 'vdq'", noDisk],
  "snapshot-create-as vm s2 --disk-only --quiesce": ["guest agent of domain 'vm': the domain has no channel for it"],
  "snapshot-create-as vm s2 --disk-only --diskspec vda,file=images/t": [
    "disk 'vda': DIR/images/t already exists and is not empty",
    "next: choose another file; --reuse-external, where a command has it, uses this one",
  ],
  "snapshot-create-as vm s2 --disk-only --diskspec vda,file=nodir/a": [
    "directory DIR/nodir does not exist or is not a directory",
    "next: create it, then try again; nothing was changed",
  ],
  "domblkinfo vm vdq": ["domain 'vm' has no disk 'vdq'", noDisk],
  "domblkstat vm /no/image": ["domain 'vm' has no disk '/no/image'", noDisk],
  "detach-disk vm vdq": ["domain 'vm' has no disk 'vdq'", noDisk],
  "detach-disk vm vda": ["QEMU refused device_del: Bus 'pcie.0' does not support hotplugging"],
  "attach-disk vm images/nope sdb": ["disk 'sdb': DIR/images/nope does not exist"],
  "blockcopy vm vdq images/c": ["domain 'vm' has no disk 'vdq'", noDisk],
  "blockcopy vm vda images/c --async": ["--async is not supported: "],
  "blockjob vm vdq": ["domain 'vm' has no disk 'vdq'", noDisk],
  "migrate-storage vm --to nowhere": [
    "directory DIR/nowhere does not exist or is not a directory",
    "next: create it, then try again; nothing was changed",
  ],
  "start vm": ["domain 'vm' is already running"],
  "domrename vm other": [
    "domain 'vm' is running: renaming it is not possible",
    "next: `qmirror shutdown vm` or `qmirror destroy vm` ends it",
  ],
  "create vm.xml": ["domain 'vm' already exists with uuid "],
  "restore vm.xml": ["DIR/vm.xml does not fit: qmirror did not write it"],
  "operation-watch nope": ["no operation 'nope'", "next: `qmirror operation-list` shows the operations"],
  "operation-cancel nope": ["no operation 'nope'", "next: `qmirror operation-list` shows the operations"],
  "domfsfreeze vm": ["guest agent of domain 'vm': the domain has no channel for it"],
} as const;

function assertTold(said: string, message: string, next?: string): void {
  const lines = said.replaceAll(rig.files.directory, "DIR").trimEnd().split("\n");
  assert.equal(lines[0]?.slice(0, `error: ${message}`.length), `error: ${message}`);
  if (next !== undefined || lines.length > 1) assert.equal(lines[1], next);
}

describe("what is refused changes nothing", () => {
  test("wrong usage, with exit code 2", async () => {
    const before = await look();
    for (const [line, message] of Object.entries(usage)) assertTold(await rig.fails(line, 2), message);
    assert.deepEqual(await look(), before);
  });

  test("what cannot be done, with exit code 1", async () => {
    const before = await look();
    for (const [line, [message, next]] of Object.entries(refused)) assertTold(await rig.fails(line), message, next);
    assert.deepEqual(await look(), before);
  });

  test("errors are one line of JSON where that is asked for", async () => {
    const { code, stdout, stderr } = await rig.run(["--json", "snapshot-info", "vm", "nope"]);
    assert.deepEqual([code, stdout], [1, ""]);
    const { error } = JSON.parse(stderr) as { error: Record<string, unknown> };
    assert.deepEqual([error["code"], error["message"]], ["QM_NO_SNAPSHOT", "domain 'vm' has no snapshot 'nope'"]);
  });
});

test("memory of other hardware does not fit, and the difference is told", async () => {
  const uuid = (await rig.ok("list --uuid")).split("\n")[0] ?? "";
  await rig.ok("snapshot-create-as vm full --memspec images/full.mem");
  const recorded = await rig.ok("snapshot-dumpxml vm full");
  rig.save("full.xml", recorded.replaceAll("'KiB'>32768<", "'KiB'>24576<"));
  await rig.ok("snapshot-create vm full.xml --redefine --current");
  const before = await look();
  assertTold(
    await rig.fails("snapshot-revert vm full"),
    "DIR/images/full.mem does not fit: memory: 32 MiB was saved, 24 MiB is there now",
  );
  assert.deepEqual(await look(), before);
  await rig.ok("snapshot-delete vm full --metadata");

  await rig.ok("save vm vm.save");
  rig.save(
    "small.xml",
    rig.read("vm.xml").replace("</name>", `</name><uuid>${uuid}</uuid>`).replace("'MiB'>32<", "'MiB'>24<"),
  );
  assertTold(
    await rig.fails("restore vm.save --xml small.xml"),
    "DIR/vm.save does not fit: memory: 32 MiB was saved, 24 MiB is there now",
  );
  assertTold(await rig.fails("save vm other"), "domain 'vm' is not running", "next: `qmirror start vm` starts it");
  await rig.ok("restore vm.save");
  assert.equal(await rig.ok("domstate vm"), "running\n");
});

test("a transient domain is not reverted to a snapshot that would end it", async () => {
  await rig.ok("snapshot-create-as t on --disk-only");
  rig.save(
    "off.xml",
    (await rig.ok("snapshot-dumpxml t on")).replace("<name>on<", "<name>off<").replace("disk-snapshot", "shutoff"),
  );
  await rig.ok("snapshot-create t off.xml --redefine");
  assertTold(
    await rig.fails("snapshot-revert t off", 2),
    "invalid argument: domain 't' is transient and would be gone; --running or --paused starts it",
  );
  assert.equal(await rig.ok("domstate t"), "running\n");
});
