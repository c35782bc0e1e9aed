import assert from "node:assert/strict";
import { test } from "node:test";
import { settleBacking, withSource } from "../../src/model/disk-backing.ts";
import type { Disk } from "../../src/model/domain.ts";
import { makeNetworkImage, type ImageRef } from "../../src/model/image.ts";

const file = (path: string): ImageRef => ({ type: "file", path, format: "qcow2" });
const net = (name: string): ImageRef =>
  makeNetworkImage({ protocol: "nbd", server: { name: "h", port: 1 }, exportName: name }, "qcow2");
const disk = (source: ImageRef, statedBacking?: readonly ImageRef[]): Disk => ({
  ...{ target: "vda", bus: "virtio", device: "disk", readonly: false, source },
  ...(statedBacking === undefined ? {} : { statedBacking }),
});

test("what the headers tell is not kept, layers on the network are", () => {
  assert.deepEqual(settleBacking(disk(file("/a"), [file("/b")])), disk(file("/a")));
  assert.deepEqual(settleBacking(disk(file("/a"), [])), disk(file("/a")));
  const below = [net("n"), file("/c")];
  assert.deepEqual(settleBacking(disk(file("/a"), [file("/b"), ...below])), disk(file("/a"), below));
  assert.deepEqual(settleBacking(disk(net("n"), [])), disk(net("n"), []));
});

test("a network image stays known when an overlay takes its place, and again when that is gone", () => {
  const before = disk(net("n"), [file("/c")]);
  const covered = withSource(before, file("/s1"));
  assert.deepEqual(covered, disk(file("/s1"), [net("n"), file("/c")]));
  assert.deepEqual(withSource(covered, file("/s2")), disk(file("/s2"), [net("n"), file("/c")]));
  assert.deepEqual(withSource(covered, net("n")), before);
  assert.deepEqual(withSource(disk(file("/a"), [file("/b"), file("/c")]), file("/b")), disk(file("/b")));
});
