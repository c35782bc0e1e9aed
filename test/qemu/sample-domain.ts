import type { Disk, DomainDefinition } from "../../src/model/domain.ts";
import type { RuntimePaths } from "../../src/qemu/command-line.ts";

export const sampleUuid = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";

export function sampleDomain(changes: Partial<DomainDefinition> = {}): DomainDefinition {
  return {
    type: "qemu",
    name: "web",
    uuid: sampleUuid,
    memoryBytes: 64 * 1024 * 1024,
    vcpus: 1,
    arch: "x86_64",
    machine: "q35",
    os: { bootOrder: [] },
    features: ["acpi"],
    disks: [],
    interfaces: [],
    serials: [],
    qemuArgs: [],
    qemuEnv: {},
    ...changes,
  };
}

export function sampleDisk(changes: Partial<Disk> = {}): Disk {
  return {
    target: "vda",
    bus: "virtio",
    device: "disk",
    source: { type: "file", path: "/img/vda.qcow2", format: "qcow2" },
    readonly: false,
    ...changes,
  };
}

export function samplePaths(directory: string, changes: Partial<RuntimePaths> = {}): RuntimePaths {
  return {
    qmpSocket: `${directory}/run/qmp.sock`,
    pidFile: `${directory}/run/qemu.pid`,
    logFile: `${directory}/run/qemu.log`,
    agentSocket: `${directory}/run/agent.sock`,
    chains: {},
    ...changes,
  };
}
