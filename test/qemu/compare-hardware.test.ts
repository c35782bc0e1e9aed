import assert from "node:assert/strict";
import { test } from "node:test";
import type { DomainDefinition } from "../../src/model/domain.ts";
import { compareHardware } from "../../src/qemu/compare-hardware.ts";
import { sampleDisk, sampleDomain } from "./sample-domain.ts";

const nic = { type: "user", model: "virtio", mac: "52:54:00:00:00:01" } as const;
const saved = sampleDomain({ disks: [sampleDisk(), sampleDisk({ target: "vdb" })], interfaces: [nic] });

test("what the guest does not see may differ", () => {
  const source = { type: "file", path: "/other/vda.s1", format: "qcow2" } as const;
  const disks = [sampleDisk({ source, cache: "none", io: "native" }), sampleDisk({ target: "vdb" })];
  const interfaces = [{ ...nic, type: "bridge", bridge: "br0" }] as const;
  assert.deepEqual(compareHardware(saved, { ...saved, disks, interfaces, title: "x", emulator: "/bin/qemu" }), []);
});

const cases: readonly [string, Partial<DomainDefinition>, readonly string[]][] = [
  ["accelerator", { type: "kvm" }, ["accelerator: qemu was saved, kvm is there now"]],
  ["machine", { machine: "pc" }, ["machine: q35 was saved, pc is there now"]],
  ["memory", { memoryBytes: 128 * 1024 * 1024 }, ["memory: 64 MiB was saved, 128 MiB is there now"]],
  ["vCPUs", { vcpus: 2 }, ["vCPUs: 1 was saved, 2 is there now"]],
  ["CPU model", { cpuModel: "max" }, ["CPU model: the default was saved, max is there now"]],
  ["ACPI", { features: [] }, ["ACPI: on was saved, off is there now"]],
  [
    "a disk less",
    { disks: [sampleDisk()] },
    ["virtio disk 2: vdb (disk) was saved, none is there now", "order of disks: vda vdb was saved, vda is there now"],
  ],
  [
    "a serial number and a write cache",
    { disks: [sampleDisk({ serial: "a" }), sampleDisk({ target: "vdb", cache: "directsync" })] },
    [
      "virtio disk 1: vda (disk) was saved, vda (disk, serial a) is there now",
      "virtio disk 2: vdb (disk) was saved, vdb (disk, without a write cache) is there now",
    ],
  ],
  [
    "a network card's address and model",
    { interfaces: [{ ...nic, model: "e1000" }] },
    ["network interface 1: virtio 52:54:00:00:00:01 was saved, e1000 52:54:00:00:00:01 is there now"],
  ],
  ["a serial port", { serials: [{ type: "file", path: "/x" }] }, ["serial ports: 0 was saved, 1 is there now"]],
  ["a screen", { graphics: { autoport: true, listen: "::1" } }, ["graphics card: none was saved, VGA is there now"]],
  [
    "an agent's channel",
    { agentChannel: { name: "org.qemu.guest_agent.0" } },
    ["guest agent channel: none was saved, org.qemu.guest_agent.0 is there now"],
  ],
  ["arguments", { qemuArgs: ["-usb"] }, ['QEMU arguments: none was saved, ["-usb"] is there now']],
];

for (const [what, changes, expected] of cases) {
  test(`it is said that the hardware differs: ${what}`, () => {
    assert.deepEqual(compareHardware(saved, { ...saved, ...changes }), expected);
  });
}
