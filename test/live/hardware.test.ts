import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { DomainDefinition } from "../../src/model/domain.ts";
import { sampleDomain, samplePaths } from "../qemu/sample-domain.ts";
import { QemuRig } from "./qemu-rig.ts";

for (const machine of ["q35", "pc"] as const) {
  test(`a ${machine} has the hardware that its definition names`, async (t) => {
    const rig = new QemuRig();
    t.after(() => rig.close());
    const hardware: Partial<DomainDefinition> = {
      ...{ machine, usb: "qemu-xhci", video: "virtio", balloon: "virtio", rng: "/dev/urandom" },
      inputs: [
        { type: "tablet", bus: "usb" },
        { type: "mouse", bus: "usb" },
        { type: "keyboard", bus: "usb" },
        { type: "tablet", bus: "virtio" },
        { type: "mouse", bus: "virtio" },
        { type: "keyboard", bus: "virtio" },
      ],
      sleep: { toMemory: false, toDisk: false },
    };
    const paths = samplePaths(rig.directory, { startPaused: true });
    const { qmpSocket } = await rig.start(sampleDomain(hardware), paths);
    const monitor = await rig.connect(qmpSocket);
    const devices = await monitor.execute("human-monitor-command", { "command-line": "info qtree" });
    const ids = [...devices.matchAll(/id "(qm-[^"]+)"/g)].map(([, id]) => id);
    const inputs = Array.from({ length: 6 }, (_, index) => `qm-input${index}`);
    assert.deepEqual(new Set(ids), new Set(["qm-balloon0", "qm-rng0", "qm-usb0", "qm-video0", ...inputs]));
    // QEMU warns of a -global that no device of the machine takes.
    assert.equal(readFileSync(paths.logFile, "utf8"), "");
  });
}
