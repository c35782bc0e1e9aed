/** QEMU is killed while the daemon lives, or the daemon ends while mirrors wait: nothing is lost, and all is said. */
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { basename } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Facade } from "../../src/service/facade.ts";
import { assertRefused, ServiceRig } from "./service-rig.ts";
import { assertNothingLost, WitnessRig } from "./witness-rig.ts";

/** Resolves once the service has heard of the domain's end. */
async function awaitStopped(facade: Facade, since: number): Promise<void> {
  for await (const event of facade.watchEvents({ since }, AbortSignal.timeout(20_000))) {
    if (event.type === "lifecycle" && event.detail["event"] === "stopped") return;
  }
  assert.fail("the end of QEMU was not noticed");
}

async function lastEvent(facade: Facade): Promise<number> {
  const watching = new AbortController();
  let last = 0;
  // Past events come at once; this stops at the first moment without one.
  setImmediate(() => setTimeout(() => watching.abort(), 50));
  for await (const event of facade.watchEvents({ since: 0 }, watching.signal)) last = event.seq;
  return last;
}

/** A file without its size, which merging may change. */
function nameOf(line: string): string {
  return line.slice(0, line.lastIndexOf(" "));
}

describe("QEMU with a guest that writes is killed", () => {
  let rig: WitnessRig;
  before(async () => {
    rig = await WitnessRig.create({ disks: 2 });
    await rig.open();
    await rig.boot();
  });
  after(() => rig.close());

  const qemuPid = (): number => {
    const [uuid] = readdirSync(rig.path("run", "domains"));
    return Number(readFileSync(rig.path("run", "domains", uuid ?? "", "qemu.pid"), "utf8"));
  };

  test("while a migration copies: it has failed, the domain is shut off on true images, the copies are gone", async () => {
    const since = await lastEvent(rig.facade);
    const to = rig.path("target");
    const operation = await rig.facade.migrateStorage("witness", { to, bytesPerS: 512 * 1024 });
    for await (const view of rig.facade.watchOperation(operation.id, AbortSignal.timeout(30_000))) {
      if (view.step === "copy-layers" && view.progress.some((disk) => disk.doneBytes > 0)) break;
    }
    await rig.awaitWrites(10);
    process.kill(qemuPid(), "SIGKILL");
    const final = await rig.finish(operation);
    assert.equal(final.state, "failed");
    assert.equal(final.error?.code, "QM_QEMU_GONE");
    assert.match(final.error?.message ?? "", /'witness' is gone/);
    await awaitStopped(rig.facade, since);
    assert.equal((await rig.facade.getDomain("witness")).state, "shut off");
    assert.deepEqual(await readdir(to), []);
    const paths = await rig.activePaths();
    for (const path of paths) assert.match(basename(path), new RegExp(`^vd[ab]\\..*migrate-${operation.id}$`));
    // The snapshot's overlays are all that is left of it.
    const left = ["vda.qcow2", "vdb.qcow2", ...paths.map((path) => basename(path))];
    assert.deepEqual((await readdir(rig.path("source"))).toSorted(), left.toSorted());
    assert.deepEqual(final.result?.["truth"], { vda: paths[0], vdb: paths[1] });
    assertNothingLost(await rig.stopAndCheck());
  });

  test("the domain starts again from these images, and a mirrored snapshot survives the daemon", async () => {
    // The writer begins anew; what the first run wrote was checked above.
    await rig.facade.startDomain("witness");
    await mkdir(rig.path("mirrors"));
    const diskspecs = ["vda", "vdb"].map((target) => `${target},mirror=${rig.path("mirrors", target)}`);
    await rig.facade.createSnapshot("witness", { name: "s1", diskspecs });
    await rig.closeService();
    await rig.open();
    assert.deepEqual(
      (await rig.disks()).map((disk) => disk.mirror?.state),
      ["ready", "ready"],
    );
    assert.equal((await rig.facade.endMirrors("witness", "s1", "pivot"))?.state, "succeeded");
    assert.deepEqual(await rig.activePaths(), [rig.path("mirrors", "vda"), rig.path("mirrors", "vdb")]);
  });

  test("while a mirrored snapshot waits: its mirrors are lost, and aborting them removes their files", async () => {
    await mkdir(rig.path("lost"));
    const diskspecs = ["vda", "vdb"].map(
      (target) => `${target},file=${rig.path("mirrors", `${target}.s2`)},mirror=${rig.path("lost", target)}`,
    );
    await rig.facade.createSnapshot("witness", { name: "s2", diskspecs });
    const since = await lastEvent(rig.facade);
    process.kill(qemuPid(), "SIGKILL");
    await awaitStopped(rig.facade, since);
    const mirrors = (await rig.facade.getSnapshot("witness", "s2")).disks.map((disk) => disk.mirror);
    assert.deepEqual(
      mirrors.map((mirror) => [mirror?.state, mirror?.reason]),
      [
        ["lost", "QEMU ended"],
        ["lost", "QEMU ended"],
      ],
    );
    await assertRefused(rig.facade.endMirrors("witness", "s2", "pivot"), "QM_MIRROR_BROKEN", ["'vda'", "QEMU ended"]);
    await assertRefused(rig.facade.undefineDomain("witness"), "QM_DOMAIN_MIRRORED", ["'s2'"]);
    assert.equal(await rig.facade.endMirrors("witness", "s2", "abort"), undefined);
    assert.deepEqual(await readdir(rig.path("lost")), []);
    assert.equal((await rig.facade.getSnapshot("witness", "s2")).mirrored, false);
    assert.deepEqual(await rig.activePaths(), [rig.path("mirrors", "vda.s2"), rig.path("mirrors", "vdb.s2")]);
    await rig.facade.startDomain("witness");
    await rig.facade.destroyDomain("witness");
  });
});

describe("domains without a guest", () => {
  const rig = new ServiceRig();
  before(() => rig.open());
  after(() => rig.close());

  test("a transient domain has gone with its QEMU, and its images stay", async () => {
    const disk = rig.createImage("t.qcow2");
    const { uuid } = await rig.facade.createDomain(rig.domainXml("t", [disk]));
    await rig.facade.createSnapshot("t", { name: "s", diskspecs: [`vda,mirror=${rig.image("t.mirror")}`] });
    const files = rig.files().map(nameOf);
    const since = await lastEvent(rig.facade);
    process.kill(rig.pidOf(uuid), "SIGKILL");
    await awaitStopped(rig.facade, since);
    await assertRefused(rig.facade.getDomain("t"), "QM_NO_DOMAIN", ["'t'"]);
    assert.deepEqual(rig.files().map(nameOf), files);
    // Its name and files are free for the next one.
    await rig.facade.createDomain(rig.domainXml("t", [rig.image("t.s")]));
    assert.deepEqual(await rig.facade.listSnapshots("t"), []);
    await rig.facade.destroyDomain("t");
  });

  test("a mirror that ends while a migration copies ends the migration at once, and nothing has changed", async () => {
    const disks = ["vda", "vdb"].map((name, index) => rig.createImage(`${name}.qcow2`, { pattern: index + 1 }));
    await rig.facade.createDomain(rig.domainXml("b", disks));
    const eye = await rig.watch("b");
    const to = rig.image("to/");
    const seen = await rig.see("b", eye);
    const operation = await rig.facade.migrateStorage("b", { to, bytesPerS: 64 * 1024 });
    for await (const view of rig.facade.watchOperation(operation.id, AbortSignal.timeout(30_000))) {
      if (view.step === "copy-layers") break;
    }
    const [, second] = await eye.execute("query-jobs");
    await eye.execute("block-job-cancel", { device: second?.id ?? "", force: true });
    const final = await rig.finish(operation);
    assert.equal(final.error?.code, "QM_JOB_FAILED", JSON.stringify(final));
    assert.match(final.error.message, /'vd[ab]'/);
    const now = await rig.see("b", eye);
    assert.deepEqual({ ...now, files: now.files.map(nameOf) }, { ...seen, files: seen.files.map(nameOf) });
    await rig.facade.destroyDomain("b");
  });

  test("a daemon that starts after QEMU was killed finds the mirrors lost", async () => {
    const disk = rig.createImage("p.qcow2");
    await rig.facade.defineDomain(rig.domainXml("p", [disk]));
    const { uuid } = await rig.facade.startDomain("p");
    await rig.facade.createSnapshot("p", { name: "s", diskspecs: [`vda,mirror=${rig.image("p.mirror")}`] });
    const pid = rig.pidOf(uuid);
    await rig.closeService();
    process.kill(pid, "SIGKILL");
    await rig.open();
    assert.equal((await rig.facade.getDomain("p")).state, "shut off");
    assert.deepEqual((await rig.facade.domainDisks("p"))[0]?.mirror?.state, "lost");
    await rig.facade.endMirrors("p", "s", "abort");
    assert.deepEqual(
      rig.files().filter((line) => line.includes("p.mirror")),
      [],
    );
    assert.deepEqual((await rig.chains("p"))[0], [rig.image("p.s"), disk]);
  });
});
