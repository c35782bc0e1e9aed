/** The same commands to virsh, with libvirt's own test driver, and to `qmirror`: what both can do they say in the same words. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { CliRig } from "../live/cli-rig.ts";

/** Run in this order. Of `-` lines only that both refuse them is compared: errors are worded by who finds them.
 * Not `--tree --from`: virsh draws direct children alone, where its man page promises all. Not `save`: virsh's wait for libvirt's test driver sometimes never ends. */
const lines = `list
list --all
define vm.xml
list --all
list --inactive --name
start vm
- start vm
- domrename vm other
list
suspend vm
domstate vm --reason
domstate vm
resume vm
- resume vm
dominfo vm
domblklist vm
domblkinfo vm vda
domblkinfo vm vda --human
snapshot-list vm
snapshot-list vm --tree
- snapshot-current vm
- snapshot-info vm none
snapshot-create-as vm s1 why
snapshot-create-as vm s2
snapshot-create-as vm --name s3 --description third
- snapshot-create-as vm s1
snapshot-create vm s4.xml
snapshot-list vm
snapshot-list vm --parent
snapshot-list vm --tree
snapshot-list vm --name
snapshot-list vm --roots
snapshot-list vm --leaves
snapshot-list vm --no-leaves --name
snapshot-list vm --metadata --name
snapshot-list vm --no-metadata
snapshot-list vm --active --name
snapshot-list vm --inactive
snapshot-list vm --from s1
snapshot-list vm --from s1 --descendants --name
snapshot-list vm --current
snapshot-list vm --topological --name
- snapshot-list vm --tree --name
- snapshot-list vm --roots --parent
- snapshot-list vm --parent --tree
- snapshot-list vm --from s1 --current
- snapshot-list vm --roots --from s1
- snapshot-list vm --from none
snapshot-info vm s1
snapshot-info vm --current
- snapshot-info vm
- snapshot-parent vm s1
snapshot-current vm s2
snapshot-revert vm s1
- snapshot-revert vm s1 --running --paused
- snapshot-revert vm none
- snapshot-delete vm none
- snapshot-delete vm s1 --children --children-only
snapshot-delete vm s3 --children-only
snapshot-delete vm s2 --children
snapshot-delete vm s1
snapshot-list vm --name
destroy vm
- destroy vm
- suspend vm
attach-disk vm /images/x vdb --print-xml
attach-disk vm /images/x vdb --subdriver qcow2 --cache none --targetbus virtio --print-xml
attach-disk vm /images/x sdb --type cdrom --mode readonly --print-xml
domrename vm other
undefine other
- undefine other
- dominfo other
create vm.xml
- domrename vm other
shutdown vm`.split("\n");

/** What differs by nature: points in time, uuids, and sizes that libvirt's driver makes up. */
function normalize(line: string, text: string): string {
  let plain = text
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}/g, "TIME")
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "UUID");
  // virsh ends a row at its last column, empty or not.
  if (line.includes("--parent")) plain = plain.replaceAll(/ +$/gm, "");
  if (line.startsWith("domblkinfo"))
    plain = plain.replaceAll(/\d+\.\d{3} \w?i?B/g, "X.XXX YiB").replaceAll(/\d+/g, "N");
  if (line.startsWith("dominfo")) {
    // libvirt's driver has a security model, and counts its time since 1970.
    plain = plain
      .replaceAll(/^Security.*\n/gm, "")
      .replace(/^(Id: +)\d+$/m, "$1N")
      .replace(/^(OS Type: +).*/m, "$1N");
    plain = plain.replace(/^(CPU time: +)\d+\.\d/m, "$1N");
  }
  // Ours goes on after virsh's lines.
  if (line.startsWith("snapshot-info")) plain = plain.split("\n\n")[0] ?? "";
  return plain.trim();
}

/** One virsh for all: the driver's domains live as long as its process. */
function runVirsh(directory: string, node: string): { text: string; failed: boolean }[] {
  const mark = "#@#";
  const script = lines.map((line) => `echo '${mark}'; ${line.replace(/^- /, "")}`).join("; ");
  const options = { cwd: directory, encoding: "utf8", timeout: 60_000, env: { ...process.env, LC_ALL: "C" } } as const;
  // Errors go where the marks go, in their order.
  const said = spawnSync("sh", ["-c", 'exec virsh -c "test://$1" "$2" 2>&1', "sh", node, script], options);
  const parts = said.stdout.split(`${mark}\n`).slice(1);
  assert.equal(parts.length, lines.length, said.stdout);
  return parts.map((text) => ({ text, failed: /^error: /m.test(text) }));
}

test("what virsh says, qmirror says", async (t) => {
  assert.equal(spawnSync("virsh", ["--version"]).status, 0, "install Debian's package libvirt-clients");
  const rig = new CliRig();
  t.after(() => rig.close());
  await rig.open();
  const disk = (
    path: string,
  ) => `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${path}'/>
    <target dev='vda' bus='virtio'/></disk>`;
  const domain = (
    type: string,
    machine: string,
  ) => `<domain type='${type}'><name>vm</name><memory unit='MiB'>32</memory>
    <vcpu>1</vcpu><os><type${machine}>hvm</type></os><devices>${disk(rig.files.createImage("a"))}</devices></domain>`;
  rig.save("s4.xml", "<domainsnapshot><name>s4</name></domainsnapshot>");
  rig.save("vm.xml", domain("test", ""));
  const virsh = runVirsh(rig.files.directory, rig.save("node.xml", "<node/>"));
  rig.save("vm.xml", domain("qemu", " arch='x86_64' machine='q35'"));
  for (const [index, line] of lines.entries()) {
    const theirs = virsh[index] ?? { text: "", failed: true };
    const ours = await rig.run(line.replace(/^- /, "").split(" "));
    assert.equal(theirs.failed, line.startsWith("- "), `virsh ${line}: ${theirs.text}`);
    assert.equal(ours.code !== 0, theirs.failed, `${line}: ${ours.stderr}`);
    if (!theirs.failed) {
      assert.equal(normalize(line, ours.stdout), normalize(line, theirs.text), line);
    }
  }
});
