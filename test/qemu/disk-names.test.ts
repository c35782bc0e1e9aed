import assert from "node:assert/strict";
import { it } from "node:test";
import { nameDisks, qomPath } from "../../src/qemu/disk-names.ts";

it("makes a QOM path of a bare id", () => {
  assert.deepEqual(["sda", "/machine/x", "", undefined].map(qomPath), [
    "/machine/peripheral/sda",
    "/machine/x",
    "",
    "",
  ]);
});

it("prefers the device's id, then the drive's name, then the end of the path; all unique", () => {
  const names = nameDisks([
    { qdev: "/machine/peripheral/vda/virtio-backend", device: "drive0" },
    { qdev: "sda", device: "" },
    { qdev: "/machine/peripheral-anon/device[2]/virtio-backend", device: "virtio0" },
    { qdev: "/machine/peripheral-anon/device[3]", device: "" },
    { device: "drive-virtio-disk0" },
    { device: "vda" },
    { device: "" },
  ]);
  assert.deepEqual(names, ["vda", "sda", "virtio0", "device3", "drive-virtio-disk0", "vda-2", "disk"]);
});
