import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test, type TestContext } from "node:test";
import { makeElement } from "../../src/xml/element.ts";
import { writeXml } from "../../src/xml/write.ts";
import { isQmError } from "../../src/base/errors.ts";
import { readChain } from "../../src/image/chain.ts";
import { createOverlay } from "../../src/image/create.ts";
import { formatSource } from "../../src/model/image-xml.ts";
import { makeNetworkImage, type ImageChain, type ImageRef } from "../../src/model/image.ts";
import { readGuestDisks } from "../../src/qemu/block-graph.ts";
import { sampleDisk, sampleDomain, samplePaths } from "../qemu/sample-domain.ts";
import { serveHttp, serveNbd } from "./network-servers.ts";
import { QemuRig } from "./qemu-rig.ts";
import { assertHolds, ServiceRig, writeThroughDevice } from "./service-rig.ts";

function readsPattern(path: string, pattern: number): void {
  const said = execFileSync("qemu-io", ["-r", "-f", "raw", "-c", `read -P ${pattern} 0 64k`, path], {
    encoding: "utf8",
  });
  assert.doesNotMatch(said, /verification failed/);
}

test("a guest runs on NBD and HTTP images, and an attached monitor tells them again", async (t) => {
  const rig = new QemuRig();
  t.after(() => rig.close());
  const socket = rig.path("nbd, socket?.sock");
  const onSocket = await serveNbd(rig.directory, rig.createImage("a.raw", "raw"), {
    ...{ format: "raw", exportName: "e 1?%", socket },
  });
  t.after(() => onSocket.close());
  const onTcp = await serveNbd(rig.directory, rig.createImage("b.raw", "raw"), { format: "raw", exportName: "" });
  t.after(() => onTcp.close());
  execFileSync("qemu-io", ["-f", "raw", "-c", "write -q -P 7 0 64k", rig.createImage("c.raw", "raw")]);
  const web = await serveHttp(rig.path("c.raw"), "dir/c d.raw", "x=1&y=2");
  t.after(() => web.close());

  const [unix, tcp, http] = [onSocket, onTcp, web].map(({ source }) => makeNetworkImage(source, "raw"));
  assert.ok(unix && tcp && http);
  const overlay: ImageRef = { type: "file", path: rig.path("overlay.qcow2"), format: "qcow2" };
  await createOverlay({ image: overlay, backing: http, sizeBytes: 16 * 1024 * 1024 });
  const chain = await readChain(overlay, { disk: "vdc", stated: [http] });
  const chains: Record<string, ImageChain> = { vda: [unix], vdb: [tcp], vdc: chain, sda: [http] };
  const disks = [
    sampleDisk({ source: unix, cache: "none", discard: "unmap" }),
    sampleDisk({ target: "vdb", source: tcp, cache: "writethrough", detectZeroes: "on" }),
    sampleDisk({ target: "vdc", source: overlay }),
    sampleDisk({ target: "sda", bus: "sata", device: "cdrom", source: http, readonly: true }),
  ];
  const identity = await rig.start(sampleDomain({ disks }), samplePaths(rig.directory, { chains, startPaused: true }));
  const monitor = await rig.connect(identity.qmpSocket);
  const read = await readGuestDisks(monitor);
  assert.deepEqual(
    read.map(({ target, layers, unsupported }) => [target, layers.map(({ image }) => image), unsupported]),
    disks.map(({ target }) => [target, chains[target], undefined]),
  );
  assert.deepEqual(
    read.map(({ readOnly }) => readOnly),
    [false, false, false, true],
  );
  await writeThroughDevice(monitor, "vda", 42, 0);
  readsPattern(rig.path("a.raw"), 42);
  assert.deepEqual([...web.urls], ["/dir/c%20d.raw?x=1&y=2"]);
});

async function runOnNbd(t: TestContext): Promise<{ rig: ServiceRig; net: ImageRef; xml: string }> {
  const rig = new ServiceRig();
  t.after(() => rig.close());
  const options = { format: "raw", exportName: "base disk", socket: rig.path("nbd.sock") } as const;
  const nbd = await serveNbd(rig.directory, rig.createImage("base.raw", { format: "raw" }), options);
  t.after(() => nbd.close());
  await rig.open();
  const net = makeNetworkImage(nbd.source, "raw");
  const source = writeXml(makeElement("x", {}, [formatSource(net)])).replaceAll(/<\/?x>/g, "");
  const xml = rig
    .domainXml("d", ["/placeholder"], "raw")
    .replace("<disk type='file'", "<disk type='network'")
    .replace("<source file='/placeholder'/>", source);
  return { rig, net, xml };
}

test("overlays of a network image are found again by later starts, through headers that QEMU itself can follow", async (t) => {
  const { rig, net, xml } = await runOnNbd(t);
  const { facade } = rig;
  await facade.defineDomain(xml);
  await facade.startDomain("d");
  const eye = await rig.watch("d");
  await writeThroughDevice(eye, "vda", 1, 0);
  const [s1, s2] = [rig.image("s1.qcow2"), rig.image("s2.qcow2")];
  await facade.createSnapshot("d", { name: "s1", diskspecs: [`vda,file=${s1}`], diskOnly: true });
  await writeThroughDevice(eye, "vda", 2, 64);
  await facade.createSnapshot("d", { name: "s2", diskspecs: [`vda,file=${s2}`], diskOnly: true });
  const chain = [s2, s1, net.path];
  assert.deepEqual(await rig.chains("d"), [chain]);
  const live = await facade.domainXml("d", { inactive: false });
  for (const words of ["<source file='S2' index='1'/>", "<backingStore type='file' index='2'>", "index='3'>"]) {
    assert.ok(live.includes(words.replace("S2", s2)), `${words} in ${live}`);
  }

  await facade.destroyDomain("d");
  assert.deepEqual(await rig.chains("d"), [chain]);
  assertHolds(s2, 1, 0);
  assertHolds(s2, 2, 64);
  // The state file alone remembers which network image is trusted.
  await rig.closeService();
  await rig.open();
  await rig.facade.startDomain("d");
  assert.deepEqual(await rig.chains("d"), [chain]);
});

test("a file overlay on a network image needs <backingStore>, and one that contradicts its header is refused", async (t) => {
  const { rig, net } = await runOnNbd(t);
  const top: ImageRef = { type: "file", path: rig.image("top.qcow2"), format: "qcow2" };
  await createOverlay({ image: top, backing: net, sizeBytes: 8 * 1024 * 1024 });
  const refused = async (xml: string, words: RegExp): Promise<void> => {
    await rig.facade.defineDomain(xml);
    await assert.rejects(
      rig.facade.startDomain("f"),
      (error) => isQmError(error, "QM_CHAIN_BROKEN") && words.test(error.message),
    );
    await rig.facade.undefineDomain("f");
  };
  const plain = rig.domainXml("f", [top.path]);
  const below = (inner: string) => plain.replace("<target", `${inner}<target`);
  await refused(plain, /'nbd\+unix:\S+' is not a plain path, and the disk's <backingStore> does not name it/);
  await refused(below("<backingStore/>"), /does not name it/);
  const source = writeXml(makeElement("x", {}, [formatSource(net)])).replaceAll(/<\/?x>/g, "");
  const named = (format: string) =>
    below(`<backingStore type='network'><format type='${format}'/>${source}<backingStore/></backingStore>`);
  await refused(named("qcow2"), /is raw, <backingStore> says qcow2/);
  await rig.facade.defineDomain(named("raw"));
  await rig.facade.startDomain("f");
  assert.deepEqual(await rig.chains("f"), [[top.path, net.path]]);
});

test("a server that is not there is QEMU's error at the start, and leaves no QEMU", async (t) => {
  const rig = new QemuRig();
  t.after(() => rig.close());
  const source = makeNetworkImage(
    { protocol: "nbd", server: { socket: rig.path("gone.sock") }, exportName: "" },
    "raw",
  );
  await assert.rejects(
    rig.start(
      sampleDomain({ disks: [sampleDisk({ source })] }),
      samplePaths(rig.directory, { chains: { vda: [source] } }),
    ),
    (error) => isQmError(error, "QM_QEMU_START") && /gone\.sock/.test(error.message),
  );
});
