import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readGuestDisks } from "../../src/qemu/block-graph.ts";
import { cannedMonitor } from "./canned-monitor.ts";

const cache = { writeback: true, direct: false, "no-flush": false };

function node(name: string, drv: string, file: string, more: object = {}): Record<string, unknown> {
  const image = { filename: file, format: drv, "virtual-size": 4096, ...more };
  return {
    "node-name": name,
    drv,
    file,
    ro: false,
    encrypted: false,
    backing_file_depth: 0,
    detect_zeroes: "off",
    cache,
    image,
  };
}

function children(entry: Record<string, unknown>, list: Record<string, string>): Record<string, unknown> {
  const named = Object.entries(list).map(([child, name]) => ({ child, "node-name": name }));
  return { ...entry, children: named };
}

function block(inserted: unknown, more: object = {}): object {
  return { device: "d", type: "unknown", removable: false, locked: false, inserted, ...more };
}

describe("readGuestDisks without the debugging command", () => {
  it("takes the children that newer QEMUs name with each node", async () => {
    const nodes = [
      children(node("top", "qcow2", "/top"), { file: "topfile", backing: "base" }),
      children(node("base", "raw", "/same"), { file: "basefile" }),
      children(node("topfile", "file", "/top"), {}),
      children(node("basefile", "host_device", "/dev/same"), {}),
    ];
    const monitor = cannedMonitor({
      "query-block": [block(nodes[0], { qdev: "vda" })],
      "query-named-block-nodes": nodes,
    });
    const [disk] = await readGuestDisks(monitor);
    assert.deepEqual(
      disk?.layers.map(({ node: name, fileNode, image }) => [name, fileNode, image]),
      [
        ["top", "topfile", { type: "file", path: "/top", format: "qcow2" }],
        ["base", "basefile", { type: "block", path: "/dev/same", format: "raw" }],
      ],
    );
  });

  it("concludes a chain from file names, and says when two nodes fit", async () => {
    const base = { filename: "/base", format: "raw", "virtual-size": 4096 };
    const nodes = [
      node("#1", "qcow2", 'json:{"driver":"qcow2","file":{"driver":"file","filename":"/top"}}', {
        "backing-image": base,
      }),
      node("#2", "file", "/top"),
      node("#3", "raw", "/base"),
      node("#4", "file", "/base"),
    ];
    const read = async (all: object[]) =>
      (await readGuestDisks(cannedMonitor({ "query-block": [block(nodes[0])], "query-named-block-nodes": all })))[0];
    const told = await read(nodes);
    assert.deepEqual(
      told?.layers.map((layer) => [layer.node, layer.fileNode, layer.image.path]),
      [
        ["#1", "#2", "/top"],
        ["#3", "#4", "/base"],
      ],
    );
    const twice = await read([...nodes, node("#5", "raw", "/base")]);
    assert.deepEqual(twice?.layers, []);
    assert.match(twice?.unsupported ?? "", /can be the backing image \/base/);
  });

  it("refuses encrypted images, data files, and unknown drivers", async () => {
    const read = async (top: Record<string, unknown>, file: Record<string, unknown>) =>
      (await readGuestDisks(cannedMonitor({ "query-block": [block(top)], "query-named-block-nodes": [top, file] })))[0]
        ?.unsupported;
    const top = children(node("t", "qcow2", "/t"), { file: "f" });
    const file = children(node("f", "file", "/t"), {});
    assert.equal(await read(top, file), undefined);
    assert.match((await read({ ...top, encrypted: true }, file)) ?? "", /encrypted/);
    assert.match((await read(children(top, { file: "f", "data-file": "x" }), file)) ?? "", /another file/);
    assert.match((await read(top, children(node("f", "ssh", "ssh://h"), {}))) ?? "", /driver ssh/);
    assert.match((await read(top, children(node("f", "file", "json:{cut"), {}))) ?? "", /cannot be told/);
  });
});

describe("readGuestDisks on a QEMU without named nodes", () => {
  const old = {
    file: "/top",
    drv: "qcow2",
    ro: false,
    encrypted: false,
    backing_file_depth: 0,
    detect_zeroes: "off",
    cache,
  };

  it("takes what query-block says", async () => {
    const image = {
      ...{ filename: "/top", format: "qcow2", "virtual-size": 8192 },
      "backing-image": { filename: "/dev/vg/base", format: "raw", "virtual-size": 4096 },
    };
    const inserted = { ...old, image, backing_file: "/dev/vg/base", backing_file_depth: 1 };
    const [disk] = await readGuestDisks(cannedMonitor({ "query-block": [block(inserted)] }));
    assert.equal(disk?.target, "d");
    assert.equal(disk.sizeBytes, 8192);
    assert.deepEqual(
      disk.layers.map((layer) => [layer.node, layer.image]),
      [
        ["", { type: "file", path: "/top", format: "qcow2" }],
        ["", { type: "block", path: "/dev/vg/base", format: "raw" }],
      ],
    );
  });

  it("takes the little that the 2012 QEMU says", async () => {
    const inserted = { file: "/img/vda.qcow2", ro: false, drv: "qcow2", encrypted: false };
    const [disk] = await readGuestDisks(cannedMonitor({ "query-block": [block(inserted)] }));
    assert.deepEqual(disk, {
      ...{ target: "d", qdev: "", device: "d", sizeBytes: 0, readOnly: false },
      layers: [
        {
          node: "",
          image: { type: "file", path: "/img/vda.qcow2", format: "qcow2" },
          cache: { direct: false, noFlush: false },
          detectZeroes: "off",
        },
      ],
    });
    const overlay = block({ ...inserted, backing_file: "/img/base" });
    const [backed] = await readGuestDisks(cannedMonitor({ "query-block": [overlay] }));
    assert.match(backed?.unsupported ?? "", /does not tell/);
  });

  it("does not make a chain up that QEMU does not tell", async () => {
    const inserted = {
      ...old,
      image: { filename: "/top", format: "qcow2", "virtual-size": 8192 },
      backing_file_depth: 1,
    };
    const [disk] = await readGuestDisks(cannedMonitor({ "query-block": [block(inserted)] }));
    assert.match(disk?.unsupported ?? "", /does not tell/);
  });
});
