/** Bad input gets a clear error and changes nothing: no chain, file, node, job or snapshot. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { after, before, describe, test, type TestContext } from "node:test";
import type { SnapshotCreateBody } from "../../src/api-types/index.ts";
import type { ErrorCode } from "../../src/base/error-registry.ts";
import type { Monitor } from "../../src/qemu/monitor.ts";
import { assertRefused, ServiceRig } from "./service-rig.ts";

const isRoot = process.getuid?.() === 0;

describe("bad input to a running domain", () => {
  const rig = new ServiceRig();
  let eye: Monitor;
  before(async () => {
    const disks = ["vda", "vdb"].map((name, index) => {
      const base = rig.createImage(`src-base-${name}.qcow2`, { pattern: index + 1 });
      return rig.createImage(`src-${name}.qcow2`, { backing: base });
    });
    await rig.open();
    await rig.facade.defineDomain(rig.domainXml("d", disks));
    await rig.facade.startDomain("d");
    eye = await rig.watch("d");
    rig.image("dst/");
    rig.image("full/");
    writeFileSync(rig.image("taken"), "x");
    symlinkSync(rig.image("nowhere"), rig.image("dangling"));
  });
  after(() => rig.close());

  async function unchanged(act: () => Promise<unknown>): Promise<void> {
    const seen = await rig.see("d", eye);
    const operations = await rig.facade.listOperations({});
    await act();
    assert.deepEqual(await rig.see("d", eye), seen);
    assert.deepEqual(await rig.facade.listOperations({}), operations, "no operation was begun");
    assert.equal((await rig.facade.getDomain("d")).operation, undefined);
  }

  const refusedSnapshot = (request: SnapshotCreateBody, code: ErrorCode, names: readonly string[]) =>
    unchanged(() => assertRefused(rig.facade.createSnapshot("d", { name: "s", ...request }), code, names));
  const specs = (...diskspecs: string[]): SnapshotCreateBody => ({ diskspecs });
  const dst = (name: string): string => rig.image(`dst/${name}`);

  test("a disk that the domain does not have", async () => {
    await refusedSnapshot(specs("vdz"), "QM_NO_DISK", ["'d'", "'vdz'"]);
    for (const verb of ["migrateStorage", "cloneStorage"] as const) {
      await unchanged(() =>
        assertRefused(rig.facade[verb]("d", { to: rig.image("dst"), disks: ["vda", "vdz"] }), "QM_NO_DISK", ["'vdz'"]),
      );
    }
  });

  test("a domain, snapshot or operation that there is not", async () => {
    await unchanged(async () => {
      await assertRefused(rig.facade.createSnapshot("nobody", {}), "QM_NO_DOMAIN", ["'nobody'"]);
      await assertRefused(rig.facade.endMirrors("d", "none", "pivot"), "QM_NO_SNAPSHOT", ["'none'"]);
      await assertRefused(rig.facade.waitOperation("none", AbortSignal.timeout(1000)), "QM_NO_OPERATION", ["'none'"]);
    });
  });

  test("files that are there already, and links to nothing", async () => {
    for (const taken of ["taken", "dangling"]) {
      const path = rig.image(taken);
      await refusedSnapshot(specs(`vdb,file=${path}`), "QM_FILE_EXISTS", ["'vdb'", path]);
      await refusedSnapshot(specs(`vdb,mirror=${path}`), "QM_FILE_EXISTS", ["'vdb'", path]);
    }
    writeFileSync(dst("src-vdb.qcow2"), "x");
    for (const verb of ["migrateStorage", "cloneStorage"] as const) {
      await unchanged(() =>
        assertRefused(rig.facade[verb]("d", { to: rig.image("dst") }), "QM_FILE_EXISTS", [
          "'vdb'",
          dst("src-vdb.qcow2"),
        ]),
      );
    }
    rmSync(dst("src-vdb.qcow2"));
  });

  test("a directory or a device that is no disk as a target", async () => {
    await refusedSnapshot(specs(`vda,mirror=${rig.image("dst")}`), "QM_UNSUPPORTED", [rig.image("dst")]);
    await refusedSnapshot(specs("vda,mirror=/dev/null"), "QM_UNSUPPORTED", ["/dev/null"]);
  });

  test("a mirror that is its own source, or another disk's image, base, overlay or mirror", async () => {
    const mirrors = [
      `vda,file=${dst("o")},mirror=${dst("o")}`,
      `vda,mirror=${rig.image("src-vda.qcow2")}`,
      `vda,mirror=${rig.image("src-vdb.qcow2")}`,
      `vda,mirror=${rig.image("src-base-vdb.qcow2")}`,
      `vda,mirror=${dst("../dst/./o")}`,
    ];
    for (const mirror of mirrors) {
      const spec = specs(mirror, `vdb,file=${dst("o")}`);
      await refusedSnapshot(spec, "QM_SAME_FILE", ["disk 'vd"]);
    }
    await refusedSnapshot(specs(`vda,mirror=${dst("m")}`, `vdb,mirror=${dst("m")}`), "QM_SAME_FILE", [
      "'vdb'",
      dst("m"),
      "the mirror of disk 'vda'",
    ]);
  });

  test("the same image by another name", async () => {
    symlinkSync(rig.image("src-vdb.qcow2"), dst("link"));
    const reuse = { reuseExternal: true, ...specs(`vda,file=${dst("link")}`, "vdb,snapshot=no") };
    await refusedSnapshot(reuse, "QM_CHAIN_BROKEN", ["'vda'", dst("link")]);
    rmSync(dst("link"));
    symlinkSync(rig.image("dst"), rig.image("dst-link"));
    const twice = specs(`vda,mirror=${dst("m")}`, `vdb,mirror=${rig.image("dst-link/m")}`);
    await refusedSnapshot(twice, "QM_SAME_FILE", ["'vdb'", rig.image("dst-link/m")]);
    rmSync(rig.image("dst-link"));
  });

  test("a target whose directory is missing", async () => {
    const path = rig.image("missing/m");
    await refusedSnapshot(specs(`vda,mirror=${path}`), "QM_NO_DIRECTORY", [dirname(path)]);
    await refusedSnapshot(specs(`vda,file=${path}`), "QM_NO_DIRECTORY", [dirname(path)]);
    for (const to of [rig.image("missing"), rig.image("taken")]) {
      await unchanged(() => assertRefused(rig.facade.migrateStorage("d", { to }), "QM_NO_DIRECTORY", [to]));
    }
    await unchanged(() => assertRefused(rig.facade.migrateStorage("d", { to: "dst" }), "QM_INVALID", ["'dst'"]));
  });

  test("the directory that the disks are in", async () => {
    await unchanged(() =>
      assertRefused(rig.facade.migrateStorage("d", { to: rig.image("") }), "QM_FILE_EXISTS", ["disk 'vda'"]).catch(() =>
        assertRefused(rig.facade.migrateStorage("d", { to: rig.path("images") }), "QM_SAME_FILE", ["disk 'vda'"]),
      ),
    );
  });

  test("too little space for the copy", async (t) => {
    if (!mountSmall(t, rig.image("full"))) return;
    try {
      const to = rig.image("full");
      await unchanged(async () => {
        const message = await assertRefused(rig.facade.migrateStorage("d", { to }), "QM_NO_SPACE", [to]);
        assert.match(message, /has \d+ bytes free, the copy needs \d+/);
      });
      assert.deepEqual(readdirSync(rig.image("full")), []);
    } finally {
      execFileSync("umount", [rig.image("full")]);
    }
  });

  test("images to reuse that are missing, of another size, or on another base", async () => {
    const reuse = (...diskspecs: string[]): SnapshotCreateBody => ({ reuseExternal: true, diskOnly: true, diskspecs });
    await refusedSnapshot(reuse(`vda,file=${dst("none")}`, "vdb,snapshot=no"), "QM_NO_FILE", ["'vda'", dst("none")]);
    await refusedSnapshot(reuse("vda", "vdb,snapshot=no"), "QM_XML_INVALID", ["disk 'vda'"]);
    rig.createImage("dst/small", { backing: rig.image("src-vda.qcow2"), size: "4M" });
    await refusedSnapshot(reuse(`vda,file=${dst("small")}`, "vdb,snapshot=no"), "QM_IMAGE_FORMAT", [
      "'vda'",
      dst("small"),
      "8388608",
    ]);
    rig.createImage("dst/other", { backing: rig.image("src-vdb.qcow2") });
    await refusedSnapshot(reuse(`vda,file=${dst("other")}`, "vdb,snapshot=no"), "QM_CHAIN_BROKEN", [
      "'vda'",
      dst("other"),
      rig.image("src-vdb.qcow2"),
    ]);
    await refusedSnapshot(reuse(`vda,file=${rig.image("taken")}`, "vdb,snapshot=no"), "QM_IMAGE_FORMAT", [
      "'vda'",
      rig.image("taken"),
    ]);
    for (const name of ["small", "other"]) rmSync(dst(name));
  });

  test("XML that is malformed, too large, has a DTD, or asks for what there is not", async () => {
    const xml = (text: string, code: ErrorCode, names: readonly string[] = []) =>
      unchanged(() => assertRefused(rig.facade.createSnapshot("d", { xml: text }), code, names));
    await xml("<domainsnapshot><name>s</name>", "QM_XML_MALFORMED");
    await xml("<domain/>", "QM_XML_INVALID", ["domainsnapshot"]);
    await xml(`<domainsnapshot>${" ".repeat(4 * 1024 * 1024)}</domainsnapshot>`, "QM_XML_TOO_LARGE", ["4194304"]);
    await xml("<!DOCTYPE x><domainsnapshot/>", "QM_XML_FORBIDDEN", ["DOCTYPE"]);
    const network = "<disk name='vda' type='network'><source protocol='nbd' name='x'><host name='h'/></source></disk>";
    await xml(`<domainsnapshot><disks>${network}</disks></domainsnapshot>`, "QM_XML_UNSUPPORTED", ["network"]);
    await xml("<domainsnapshot><name>a/b</name></domainsnapshot>", "QM_XML_INVALID", ["name", "'/'"]);
    const mirrored = `<disk name='vda' snapshot='no'><mirror file='${dst("m")}'/></disk>`;
    await xml(`<domainsnapshot><disks>${mirrored}</disks></domainsnapshot>`, "QM_XML_INVALID", ["'vda'", "external"]);
    await unchanged(() => assertRefused(rig.facade.defineDomain("<domain"), "QM_XML_MALFORMED"));
  });

  test("starting what runs, and defining another domain of its name", async () => {
    await unchanged(async () => {
      await assertRefused(rig.facade.startDomain("d"), "QM_DOMAIN_RUNNING", ["'d'"]);
      const stranger = rig.domainXml("d", []).replace("</name>", `</name><uuid>${crypto.randomUUID()}</uuid>`);
      await assertRefused(rig.facade.defineDomain(stranger), "QM_DOMAIN_EXISTS", ["'d'"]);
    });
  });

  test("--print-xml does nothing", async () => {
    await unchanged(async () => {
      const { xml, snapshot } = await rig.facade.createSnapshot("d", {
        name: "s",
        printXml: true,
        ...specs(`vda,mirror=${dst("m")}`),
      });
      assert.equal(snapshot, undefined);
      assert.match(xml, /<mirror type='file' file='[^']*\/dst\/m'/);
    });
  });

  test("a chain whose layer was deleted below the running domain", async () => {
    const base = rig.image("src-base-vdb.qcow2");
    execFileSync("mv", [base, rig.path("kept")]);
    await unchanged(() =>
      assertRefused(rig.facade.migrateStorage("d", { to: rig.image("dst") }), "QM_CHAIN_BROKEN", ["'vdb'", base]),
    );
    execFileSync("mv", [rig.path("kept"), base]);
  });

  test("an empty file and a block device are used as they are", async (t) => {
    writeFileSync(dst("empty"), "", { mode: 0o640 });
    const inode = statSync(dst("empty")).ino;
    const loop = attachLoop(t, rig.path("loop.img"));
    try {
      const vdb =
        loop === undefined
          ? `<disk name='vdb' snapshot='no'/>`
          : `<disk name='vdb' type='file'><source file='${dst("ovl")}'/><mirror type='block'><format type='qcow2'/><source dev='${loop}'/></mirror></disk>`;
      const xml = `<domainsnapshot><name>used</name><disks>
        <disk name='vda'><source file='${rig.image("ovl-a")}'/><mirror file='${dst("empty")}'/></disk>${vdb}</disks></domainsnapshot>`;
      const seen = await rig.see("d", eye);
      await rig.facade.createSnapshot("d", { xml });
      await rig.facade.endMirrors("d", "used", "pivot");
      const chains = await rig.chains("d");
      assert.deepEqual(chains[0]?.slice(0, 2), [dst("empty"), rig.image("src-vda.qcow2")]);
      assert.deepEqual([statSync(dst("empty")).ino, statSync(dst("empty")).mode & 0o777], [inode, 0o640]);
      if (loop !== undefined) assert.equal(chains[1]?.[0], loop);
      assert.equal((await rig.see("d", eye)).jobs.length, seen.jobs.length);
      await rig.facade.destroyDomain("d");
      const xmlNow = await rig.facade.domainXml("d", { inactive: true });
      if (loop !== undefined) assert.ok(xmlNow.includes(`<source dev='${loop}'/>`), xmlNow);
      await rig.facade.startDomain("d");
      assert.deepEqual(await rig.chains("d"), chains);
      eye = await rig.watch("d");
    } finally {
      if (loop !== undefined) {
        await rig.facade.destroyDomain("d");
        execFileSync("losetup", ["-d", loop]);
      }
    }
  });
});

describe("a domain that cannot be started or does not run", () => {
  const rig = new ServiceRig();
  before(() => rig.open());
  after(() => rig.close());

  async function refusedStart(name: string, code: ErrorCode, names: readonly string[]): Promise<void> {
    const files = rig.files();
    await assertRefused(rig.facade.startDomain(name), code, names);
    assert.deepEqual(rig.files(), files);
    assert.equal((await rig.facade.getDomain(name)).state, "shut off");
  }

  test("an image that is not of the stated format", async () => {
    const raw = rig.createImage("raw", { format: "raw" });
    await rig.facade.defineDomain(rig.domainXml("format", [raw]));
    await refusedStart("format", "QM_IMAGE_FORMAT", ["'vda'", raw, "qcow2"]);
  });

  test("an image that is missing, and a chain with a missing layer", async () => {
    const missing = rig.image("missing");
    await rig.facade.defineDomain(rig.domainXml("none", [missing]));
    await refusedStart("none", "QM_NO_FILE", ["'vda'", missing]);
    const base = rig.createImage("base");
    const mid = rig.createImage("mid", { backing: base });
    const top = rig.createImage("top", { backing: mid });
    rmSync(base);
    await rig.facade.defineDomain(rig.domainXml("chain", [top]));
    await refusedStart("chain", "QM_CHAIN_BROKEN", ["'vda'", base]);
  });

  test("what needs a running domain", async () => {
    mkdirSync(rig.path("to"));
    const mirror = `vda,mirror=${rig.path("to", "m")}`;
    const requests = [
      () => rig.facade.createSnapshot("none", { name: "s", diskspecs: [mirror] }),
      () => rig.facade.migrateStorage("none", { to: rig.path("to") }),
      () => rig.facade.cloneStorage("none", { to: rig.path("to") }),
      () => rig.facade.suspendDomain("none"),
      () => rig.facade.saveDomain("none", { file: rig.path("to", "memory") }),
      () => rig.facade.destroyDomain("none"),
    ];
    for (const request of requests) await assertRefused(request(), "QM_DOMAIN_NOT_RUNNING", ["'none'"]);
    assert.deepEqual(readdirSync(rig.path("to")), []);
  });
});

describe("a domain with a mirrored snapshot", () => {
  const rig = new ServiceRig();
  let eye: Monitor;
  before(async () => {
    const disks = ["vda", "vdb"].map((name) => rig.createImage(`${name}.qcow2`));
    await rig.open();
    await rig.facade.createDomain(rig.domainXml("m", disks));
    eye = await rig.watch("m");
    rig.image("dst/");
    const diskspecs = ["vda", "vdb"].map((name) => `${name},mirror=${rig.image(`dst/${name}`)}`);
    await rig.facade.createSnapshot("m", { name: "s1", diskspecs });
  });
  after(() => rig.close());

  test("refuses everything that would hurt it, in words that say how to end it", async () => {
    const seen = await rig.see("m", eye);
    assert.equal(seen.jobs.length, 2);
    for (const request of [
      () => rig.facade.createSnapshot("m", { name: "s2" }),
      () => rig.facade.createSnapshot("m", { name: "s1" }),
      () => rig.facade.migrateStorage("m", { to: rig.image("dst") }),
      () => rig.facade.cloneStorage("m", { to: rig.image("dst") }),
    ]) {
      await assertRefused(request(), "QM_DOMAIN_MIRRORED", ["'m'", "'s1'"]);
    }
    assert.deepEqual(await rig.see("m", eye), seen);
  });

  test("a mirror that broke cannot be pivoted, only aborted", async () => {
    const job = (await eye.execute("query-jobs"))[1]?.id ?? "";
    const events = eye.subscribe(["JOB_STATUS_CHANGE"]);
    await eye.execute("block-job-cancel", { device: job, force: true });
    for (;;) if ((await events.next()).data.status === "concluded") break;
    events.close();
    for await (const event of rig.facade.watchEvents({ since: 0 }, AbortSignal.timeout(5000))) {
      if (event.type === "mirror" && event.detail["state"] === "broken") break;
    }
    const seen = await rig.see("m", eye);
    const broken = seen.disks.find((disk) => disk.mirror?.state === "broken");
    assert.ok(broken, JSON.stringify(seen.disks));
    await assertRefused(rig.facade.endMirrors("m", "s1", "pivot"), "QM_MIRROR_BROKEN", [`'${broken.target}'`]);
    assert.deepEqual(await rig.see("m", eye), seen);
    await rig.facade.endMirrors("m", "s1", "abort");
    assert.deepEqual(readdirSync(rig.image("dst")), []);
    assert.deepEqual(await eye.execute("query-jobs"), []);
    await assertRefused(rig.facade.endMirrors("m", "s1", "pivot"), "QM_SNAPSHOT_NOT_MIRRORED", ["'s1'", "'m'"]);
  });

  test("a snapshot's name that is taken", async () => {
    const seen = await rig.see("m", eye);
    await assertRefused(rig.facade.createSnapshot("m", { name: "s1" }), "QM_SNAPSHOT_EXISTS", ["'m'", "'s1'"]);
    assert.deepEqual(await rig.see("m", eye), seen);
  });
});

function mountSmall(t: TestContext, directory: string): boolean {
  if (!isRoot) return skip(t, "only root can mount a small file system");
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "none", directory], { stdio: "pipe" });
    return true;
  } catch (error) {
    return skip(t, `no small file system: ${String(error)}`);
  }
}

function attachLoop(t: TestContext, file: string): string | undefined {
  if (!isRoot) {
    t.diagnostic("no block device: only root can make one");
    return undefined;
  }
  try {
    execFileSync("truncate", ["-s", "16M", file]);
    return execFileSync("losetup", ["-f", "--show", file], { stdio: "pipe", encoding: "utf8" }).trim();
  } catch (error) {
    t.diagnostic(`no block device: ${String(error)}`);
    return undefined;
  }
}

function skip(t: TestContext, reason: string): false {
  t.skip(reason);
  return false;
}
