/** The server of a disk's base image goes away and comes back. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import type { ImageRef } from "../../src/model/image.ts";
import { formatSource } from "../../src/model/image-xml.ts";
import { makeNetworkImage } from "../../src/model/image.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";
import { makeElement } from "../../src/xml/element.ts";
import { writeXml } from "../../src/xml/write.ts";
import { serveNbd } from "../live/network-servers.ts";
import { assertHolds, assertRefused, writeThroughDevice } from "../live/service-rig.ts";
import { FaultRig } from "./fault-rig.ts";

interface OnNbd {
  readonly rig: FaultRig;
  readonly eye: Monitor;
  readonly base: ImageRef;
  readonly stopServer: () => void;
  readonly startServer: () => Promise<void>;
}

/** A domain on an overlay of an image that a `qemu-nbd` of the test's own serves. */
async function runOnNbd(t: TestContext): Promise<OnNbd> {
  const rig = new FaultRig();
  t.after(() => rig.close());
  const image = rig.createImage("base.raw", { format: "raw", pattern: 7 });
  const options = { format: "raw", exportName: "base", socket: rig.path("nbd.sock") } as const;
  let server = await serveNbd(rig.directory, image, options);
  let running = true;
  const stopServer = (): void => {
    if (running) server.close();
    running = false;
  };
  t.after(stopServer);
  await rig.open();
  const base = makeNetworkImage(server.source, "raw");
  const source = writeXml(makeElement("x", {}, [formatSource(base)])).replaceAll(/<\/?x>/g, "");
  const xml = rig
    .domainXml("d", ["/placeholder"], "raw")
    .replace("<disk type='file'", "<disk type='network'")
    .replace("<source file='/placeholder'/>", source);
  await rig.facade.defineDomain(xml);
  await rig.facade.startDomain("d");
  const eye = await rig.watch("d");
  const startServer = async (): Promise<void> => {
    server = await serveNbd(rig.directory, image, options);
    running = true;
  };
  return { rig, eye, base, stopServer, startServer };
}

test("NBD goes and comes back: what stands on it is snapshot, mirrored and switched to meanwhile, and reads it again", async (t) => {
  const { rig, eye, base, stopServer, startServer } = await runOnNbd(t);
  const { uuid } = await rig.facade.getDomain("d");
  const device = async (command: string): Promise<void> => {
    const line = `qemu-io -d /machine/peripheral/vda/virtio-backend "${command}"`;
    await eye.execute("human-monitor-command", { "command-line": line });
  };
  const active = async (): Promise<string> => (await rig.chains("d"))[0]?.[0] ?? "";
  await rig.facade.createSnapshot("d", { name: "s1", diskOnly: true, diskspecs: [`vda,file=${rig.image("s1")}`] });
  await writeThroughDevice(eye, "vda", 1, 4096);
  await device("read -P 7 0 64k");

  stopServer();
  await device("read -P 7 64k 64k");
  // Its own images are not on NBD.
  await writeThroughDevice(eye, "vda", 2, 4160);
  const mirrored = { name: "s2", diskspecs: [`vda,file=${rig.image("s2")},mirror=${rig.image("s2.mirror")}`] };
  const { snapshot } = await rig.facade.createSnapshot("d", mirrored);
  assert.equal(snapshot?.disks[0]?.mirror?.state, "ready");
  await writeThroughDevice(eye, "vda", 3, 4224);
  assert.equal((await rig.facade.endMirrors("d", "s2", "pivot"))?.state, "succeeded");
  assert.equal(await active(), rig.image("s2.mirror"));
  await startServer();
  // QEMU connects again when it is next asked to read, and may refuse what comes before it has.
  const said = (): string => readFileSync(rig.path("run", "domains", uuid, "qemu.log"), "utf8");
  assert.equal(said().match(/read failed: Input\/output error/g)?.length, 1, said());
  const isRead = (): boolean => said().includes("read 65536/65536 bytes at offset 131072");
  for (let tries = 0; tries < 50 && !isRead(); tries++) {
    await device("read -P 7 128k 64k");
    await delay(50);
  }
  assert.ok(isRead(), said());
  assert.doesNotMatch(said(), /verification failed/);
  // Nothing of it is copied or merged, with the server there or not.
  const to = rig.image("to/");
  await assertRefused(rig.facade.migrateStorage("d", { to }), "QM_UNSUPPORTED", [base.path]);
  await assertRefused(rig.facade.blockPull("d", "vda", {}), "QM_UNSUPPORTED", [base.path]);
  await rig.facade.destroyDomain("d");
  for (const [offsetKib, pattern] of [
    [4096, 1],
    [4160, 2],
    [4224, 3],
    [128, 7],
  ] as const) {
    assertHolds(rig.image("s2.mirror"), pattern, offsetKib);
  }
});
