import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { concludeEdges, askBlockGraph } from "../../src/qemu/block-edges.ts";
import { readGuestDisks, type GuestDisk } from "../../src/qemu/block-graph.ts";
import { sampleDisk, sampleDomain, samplePaths } from "../qemu/sample-domain.ts";
import { QemuRig } from "./qemu-rig.ts";

let rig: QemuRig;
beforeEach(() => {
  rig = new QemuRig();
});
afterEach(() => rig.close());

const sizeBytes = 16 * 1024 * 1024;

function layersOf(disk: GuestDisk | undefined): string[] | undefined {
  return disk?.layers.map(({ node, fileNode, image }) => `${node} ${fileNode} ${image.format} ${image.path}`);
}

/** Chain `base` <- `mid` <- `top`, active first. */
function createChain() {
  const [base, mid, top] = [
    rig.createImage("base"),
    rig.createImage("mid", "qcow2", rig.path("base")),
    rig.createImage("top", "qcow2", rig.path("mid")),
  ].map((path) => ({ type: "file", path, format: "qcow2" }) as const);
  assert.ok(base && mid && top);
  return [top, mid, base] as const;
}

describe("readGuestDisks", () => {
  it("reads back what qmirror's own command line opened", async () => {
    const chain = createChain();
    const raw = { type: "file", path: rig.createImage("raw", "raw"), format: "raw" } as const;
    const disks = [
      sampleDisk({ source: chain[0], cache: "none" }),
      sampleDisk({ target: "sda", bus: "scsi", source: raw, readonly: true, detectZeroes: "on" }),
      { target: "sdb", bus: "sata", device: "cdrom", readonly: true } as const,
    ];
    const paths = samplePaths(rig.directory, { startPaused: true, chains: { vda: chain } });
    const identity = await rig.start(sampleDomain({ disks }), paths);
    const read = await readGuestDisks(await rig.connect(identity.qmpSocket));
    const cache = { direct: true, noFlush: false };
    assert.deepEqual(read, [
      {
        target: "vda",
        qdev: "/machine/peripheral/vda/virtio-backend",
        device: "",
        layers: chain.map((image, layer) => ({
          node: `qm-vda-${layer}`,
          fileNode: `qm-vda-${layer}s`,
          image,
          cache,
          detectZeroes: "off",
        })),
        sizeBytes,
        readOnly: false,
      },
      {
        target: "sda",
        qdev: "/machine/peripheral/sda",
        device: "",
        layers: [
          {
            node: "qm-sda-0",
            fileNode: "qm-sda-0s",
            image: raw,
            cache: { direct: false, noFlush: false },
            detectZeroes: "on",
          },
        ],
        sizeBytes,
        readOnly: true,
      },
    ]);
  });

  it("names and unravels the disks of a QEMU that names nothing, with a base that two disks share", async () => {
    const chain = createChain();
    rig.createImage("other", "qcow2", rig.path("base"));
    const monitor = await rig.startForeign([
      ...["-drive", `file=${chain[0].path},format=qcow2,if=virtio`],
      ...["-drive", "file=other,format=qcow2,if=none,id=drive-virtio-disk1"],
      ...["-device", "virtio-blk-pci,drive=drive-virtio-disk1,id=virtio-disk1"],
      ...["-drive", `file=${rig.createImage("unused")},format=qcow2,if=none,id=unused`],
      ...["-drive", `file=${rig.createImage("flash", "raw", undefined, "64K")},format=raw,if=pflash,readonly=on`],
    ]);
    const disks = await readGuestDisks(monitor, { cwd: rig.directory });
    assert.deepEqual(
      disks.map(({ target, device, unsupported }) => [target, device, unsupported]),
      [
        ["virtio0", "virtio0", undefined],
        ["virtio-disk1", "drive-virtio-disk1", undefined],
      ],
    );
    assert.deepEqual(
      disks.map(({ layers }) => layers.map(({ image }) => image.path)),
      [chain.map(({ path }) => path), [rig.path("other"), rig.path("base")]],
    );
    // Every node is a different one, and its file's.
    const names = disks.flatMap(({ layers }) => layers.flatMap(({ node, fileNode }) => [node, fileNode]));
    assert.equal(new Set(names).size, 10);
    const { nodes } = await askBlockGraph(monitor);
    for (const { node, fileNode, image } of disks.flatMap(({ layers }) => layers)) {
      assert.equal(nodes.get(node)?.drv, "qcow2");
      assert.equal(nodes.get(fileNode ?? "")?.file.endsWith(image.path.slice(image.path.lastIndexOf("/") + 1)), true);
    }
    const [, relative] = await readGuestDisks(monitor);
    assert.match(relative?.unsupported ?? "", /relative path other/);
  });

  it("concludes from file names what QEMU itself says, and refuses to guess", async () => {
    const chain = createChain();
    const drive = ["-drive", `file=${chain[0].path},format=qcow2,if=virtio`];
    const single = await askBlockGraph(await rig.startForeign(drive));
    const root = single.blocks[0]?.inserted;
    assert.ok(root && single.edges);
    assert.deepEqual(
      concludeEdges(root, single.nodes),
      new Map([...single.edges].filter(([, below]) => below.size > 0)),
    );

    rig.createImage("other", "qcow2", rig.path("base"));
    const second = await askBlockGraph(
      await rig.startForeign([
        ...["-drive", `file=${rig.createImage("top2", "qcow2", rig.path("mid"))},format=qcow2,if=virtio`],
        ...["-drive", `file=${rig.path("other")},format=qcow2,if=virtio`],
      ]),
    );
    const shared = second.blocks[0]?.inserted;
    assert.ok(shared);
    assert.match(String(concludeEdges(shared, second.nodes)), /more than one, can be the backing image .*base/);
  });

  for (const filterNode of [undefined, "my-filter"]) {
    it(`looks through the node of a running mirror (${filterNode ?? "unnamed"})`, async () => {
      const chain = createChain();
      const disks = [sampleDisk({ source: chain[0] })];
      const paths = samplePaths(rig.directory, { startPaused: true, chains: { vda: chain } });
      const identity = await rig.start(sampleDomain({ disks }), paths);
      const monitor = await rig.connect(identity.qmpSocket);
      const before = await readGuestDisks(monitor);
      const ready = monitor.subscribe(["BLOCK_JOB_READY"]);
      const target = { driver: "file", filename: rig.createImage("mirror") } as const;
      await monitor.execute("blockdev-add", { driver: "qcow2", "node-name": "mirror", file: target });
      await monitor.execute("blockdev-mirror", {
        "job-id": "j",
        device: "qm-vda-0",
        target: "mirror",
        sync: "top",
        ...(filterNode === undefined ? {} : { "filter-node-name": filterNode }),
      });
      await ready.next();
      const { nodes } = await askBlockGraph(monitor);
      assert.ok([...nodes.values()].some(({ drv }) => drv === "mirror_top"));
      assert.deepEqual(await readGuestDisks(monitor), before);
    });
  }

  it("sees a commit's result, for which QEMU opened the read-only base for writing", async () => {
    const chain = createChain();
    const disks = [sampleDisk({ source: chain[0] })];
    const paths = samplePaths(rig.directory, { startPaused: true, chains: { vda: chain } });
    const identity = await rig.start(sampleDomain({ disks }), paths);
    const monitor = await rig.connect(identity.qmpSocket);
    const nodes = async (): Promise<string[][]> =>
      (await readGuestDisks(monitor)).map(({ layers }) => layers.map(({ node }) => node));
    const events = monitor.subscribe(["BLOCK_JOB_READY", "BLOCK_JOB_COMPLETED"]);
    await monitor.execute("block-commit", {
      "job-id": "c",
      device: "qm-vda-0",
      "top-node": "qm-vda-0",
      "base-node": "qm-vda-2",
    });
    assert.equal((await events.next()).event, "BLOCK_JOB_READY");
    assert.deepEqual(await nodes(), [["qm-vda-0", "qm-vda-1", "qm-vda-2"]]);
    await monitor.execute("job-complete", { id: "c" });
    const completed = await events.next();
    assert.deepEqual([completed.event, "error" in completed.data], ["BLOCK_JOB_COMPLETED", false]);
    assert.deepEqual(await nodes(), [["qm-vda-2"]]);
  });

  it("says what it cannot work with, disk by disk", async () => {
    rig.createImage("ok");
    rig.createImage("t");
    rig.createImage("raw", "raw");
    const node = (options: object): string[] => ["-blockdev", JSON.stringify(options)];
    const file = (name: string) => ({ driver: "file", filename: rig.path(name) });
    const monitor = await rig.startForeign([
      ...["-object", "throttle-group,id=tg"],
      ...node({ driver: "qcow2", "node-name": "ok", file: file("ok") }),
      ...node({
        driver: "throttle",
        "node-name": "slow",
        "throttle-group": "tg",
        file: { driver: "qcow2", file: file("t") },
      }),
      ...node({ driver: "raw", "node-name": "part", offset: 0, size: 65536, file: file("raw") }),
      ...node({ driver: "null-co", "node-name": "nothing", size: 65536 }),
      ...node({ driver: "raw", "node-name": "onnull", file: "nothing" }),
      ...node({ driver: "file", "node-name": "plain", filename: rig.createImage("plain", "raw") }),
      ...["ok", "slow", "part", "onnull", "plain"].flatMap((id) => [
        "-device",
        `virtio-blk-pci,id=d-${id},drive=${id}`,
      ]),
    ]);
    const disks = new Map((await readGuestDisks(monitor)).map((disk) => [disk.target, disk]));
    const reason = (target: string): string | undefined => disks.get(target)?.unsupported;
    assert.equal(reason("d-ok"), undefined);
    assert.equal(reason("d-slow"), "node 'slow' has the driver throttle");
    assert.equal(reason("d-part"), "node 'part' shows a part of its file");
    assert.equal(reason("d-onnull"), "node 'onnull' is on the driver null-co");
    assert.equal(reason("d-plain"), undefined);
    assert.deepEqual(layersOf(disks.get("d-plain")), [`plain undefined raw ${rig.path("plain")}`]);
  });
});
