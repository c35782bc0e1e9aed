/** Names, paths and labels that look like options, other files, JSON or terminal commands: to QEMU, to the file system, on a terminal. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, renameSync } from "node:fs";
import { after, describe, test } from "node:test";
import { serveCli } from "../cli/serve-cli.ts";
import { QemuRig } from "../live/qemu-rig.ts";
import { assertRefused, openFiles, ServiceRig } from "../live/service-rig.ts";
import { parseDomain } from "../../src/model/domain-parse.ts";
import { readChain } from "../../src/image/chain.ts";
import { domainPaths } from "../../src/service/domain-paths.ts";

const nasty = [
  `-x`,
  `--help`,
  `a,file=x,snapshot=on`,
  'json:{"driver":"null-co"}',
  `nbd:127.0.0.1:1`,
  `a,,b=c`,
  `$(id);'"`,
  `%s%n`,
];

describe("names that mean something elsewhere", () => {
  const rig = new ServiceRig();
  after(() => rig.close());

  test("as a domain's, its image's and its directory's name they reach a real QEMU as they are", async () => {
    await rig.open();
    for (const [index, name] of nasty.entries()) {
      const folder = rig.image(`${name}/`).replace(/\/$/, "");
      const path = rig.image(`${index}.qcow2`);
      execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", path, "8M"]);
      renameSync(path, `${folder}/${name}`);
      const xml = rig
        .domainXml("N", ["P"])
        .replace("<name>N</name>", `<name>${escapeXml(name)}</name>`)
        .replace("'P'", `'${escapeXml(`${folder}/${name}`)}'`);
      await rig.facade.defineDomain(xml);
      const { uuid = "" } = await rig.facade.startDomain(name);
      const eye = await rig.watch("N");
      assert.equal((await eye.execute("query-name")).name, name);
      const [node] = (await eye.execute("query-named-block-nodes", { flat: true })).filter(
        ({ drv }) => drv === "qcow2",
      );
      assert.ok(node !== undefined);
      assert.ok(openFiles(rig.pidOf(uuid)).includes(`${folder}/${name}`), "the image itself is open");
      const created = await rig.facade.createSnapshot(name, { name, diskOnly: true });
      assert.equal(created.snapshot?.name, name);
      assert.ok(
        readdirSync(folder).some((file) => file.endsWith(`.${name}`)),
        "the overlay is beside its base",
      );
      await rig.facade.destroyDomain(name);
    }
  });

  test("as paths they are refused before anything is made: domains, snapshots, new names, disks", async () => {
    rig.createImage("p.qcow2");
    await rig.facade.defineDomain(rig.domainXml("p", [rig.image("p.qcow2")]));
    const before = rig.files();
    for (const name of [
      "../x",
      "..",
      ".",
      "/etc/x",
      "a/b",
      "a\nb",
      "a\u001b]0;x\u0007",
      "a\u009b2J",
      "x".repeat(300),
      " ",
    ]) {
      await assertRefused(rig.facade.createSnapshot("p", { name, diskOnly: true }), "QM_XML_INVALID");
      await assertRefused(rig.facade.renameDomain("p", name), "QM_XML_INVALID");
      const xml = rig.domainXml("N", [rig.image("p.qcow2")]).replace("<name>N", `<name>${writable(name)}`);
      await assertRefused(rig.facade.defineDomain(xml), "QM_XML_INVALID");
      await assertRefused(rig.facade.blockInfo("p", name), "QM_NO_DISK");
    }
    const device = (xml: string) => rig.domainXml("p", [rig.image("p.qcow2")]).replace("<target", xml);
    for (const value of nasty) {
      const card = `</disk><interface type='user'><mac address='${escapeXml(value)}'/></interface><disk><target`;
      for (const xml of [`<serial>${escapeXml(value)},x</serial><target`, card]) {
        await assertRefused(rig.facade.defineDomain(device(xml)), "QM_XML_INVALID");
      }
    }
    assert.deepEqual(rig.files(), before);
  });
});

// oxlint-disable-next-line no-control-regex
const obeyed = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

/** XML cannot carry what else is a control character. */
function writable(name: string): string {
  return name.replaceAll("\u001b", "\n").replaceAll("\u0007", "\n");
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("'", "&apos;");
}

test("a layer that is swapped after the check is not followed further: QEMU is told what is below each layer", async (t) => {
  const rig = new QemuRig();
  t.after(() => rig.close());
  const secret = rig.createImage("secret.qcow2");
  const base = rig.createImage("base.qcow2");
  const top = rig.createImage("top.qcow2", "qcow2", base);
  const def = parseDomain(`<domain type='qemu'><name>swap</name><memory unit='MiB'>32</memory>
    <os><type arch='x86_64' machine='q35'>hvm</type></os><devices><disk type='file' device='disk'>
    <driver name='qemu' type='qcow2'/><source file='${top}'/><target dev='vda' bus='virtio'/></disk></devices></domain>`);
  const chain = await readChain({ type: "file", path: top, format: "qcow2" }, { disk: "vda" });
  renameSync(rig.createImage("evil.qcow2", "qcow2", secret), base);
  const identity = await rig.start(def, domainPaths(rig.path("run"), def.uuid, { vda: chain }));
  const open = openFiles(identity.pid);
  assert.ok(open.includes(base) && !open.includes(secret), open.join());
  assert.doesNotMatch(readFileSync(`/proc/${identity.pid}/cmdline`, "utf8"), /secret/);
});

test("what a terminal obeys never reaches one: tables, records, errors, JSON, documents", async () => {
  await using s = await serveCli({ isTty: true });
  const evil = "vm\u001b]0;owned\u0007\u009b2J\u202egpj\u2066\r\n\u007f";
  s.facade.addDomain(evil);
  for (const argv of [
    ["list", "--all"],
    ["list", "--all", "--json"],
    ["dominfo", evil],
    ["dumpxml", evil],
    ["domstate", "no\u001b[31m"],
    ["snapshot-list", evil],
  ]) {
    const { stdout, stderr } = await s.cli(...argv);
    assert.notEqual(stdout + stderr, "");
    assert.doesNotMatch(stdout + stderr, obeyed, argv.join(" "));
  }
});
