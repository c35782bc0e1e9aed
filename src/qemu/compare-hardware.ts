/** Whether a guest that was saved on one domain can go on on another. */
import { formatBytes } from "../base/units.ts";
import type { Disk, DomainDefinition, NetworkInterface } from "../model/domain.ts";

/**
 * What the guest would find changed under its feet, one line each, in words: "memory: 1 GiB was saved, 2 GiB is there now". Empty:
 * `wanted` can go on from what `saved` was. Images, caches, paths of sockets and names may differ; the order of devices may not,
 * since it decides where on its bus each is.
 */
export function compareHardware(saved: DomainDefinition, wanted: DomainDefinition): string[] {
  const before = describeHardware(saved);
  const now = describeHardware(wanted);
  return [...new Set([...before.keys(), ...now.keys()])].flatMap((part) => {
    const [was, is] = [before.get(part) ?? "none", now.get(part) ?? "none"];
    return was === is ? [] : [`${part}: ${was} was saved, ${is} is there now`];
  });
}

function describeHardware(def: DomainDefinition): Map<string, string> {
  return new Map<string, string>([
    ["accelerator", def.type],
    ["architecture", def.arch],
    ["machine", def.machine ?? "the default"],
    ["memory", formatExactBytes(def.memoryBytes)],
    ["vCPUs", String(def.vcpus)],
    ["CPU model", def.cpuModel ?? "the default"],
    ["ACPI", def.features.includes("acpi") ? "on" : "off"],
    ["direct kernel boot", def.os.kernel === undefined ? "off" : "on"],
    ...(["virtio", "scsi", "sata"] as const).flatMap((bus) =>
      def.disks
        .filter((disk) => disk.bus === bus)
        .map((disk, index) => [`${bus} disk ${index + 1}`, describeDisk(disk)] as const),
    ),
    // Virtio disks and controllers share one bus: who comes first matters across kinds.
    ["order of disks", def.disks.map((disk) => disk.target).join(" ") || "none"],
    ...def.interfaces.map((nic, index) => [`network interface ${index + 1}`, describeInterface(nic)] as const),
    ["serial ports", String(def.serials.length)],
    ["graphics card", (def.video ?? (def.graphics === undefined ? "none" : "vga")).replace("vga", "VGA")],
    ["usb", def.usb ?? "none"],
    ["input devices", def.inputs?.map(({ type, bus }) => `${bus} ${type}`).join(", ") ?? "none"],
    ["memory balloon", def.balloon ?? "none"],
    ["random number generator", def.rng === undefined ? "none" : "virtio"],
    ["sleep", def.sleep === undefined ? "the default" : JSON.stringify(def.sleep)],
    ["guest agent channel", def.agentChannel?.name ?? "none"],
    ["QEMU arguments", def.qemuArgs.length === 0 ? "none" : JSON.stringify(def.qemuArgs)],
  ]);
}

function describeDisk(disk: Disk): string {
  const isThrough = disk.cache === "writethrough" || disk.cache === "directsync";
  return [
    `${disk.target} (${disk.device}${disk.readonly ? ", read-only" : ""}`,
    ...(disk.serial === undefined ? [] : [`, serial ${disk.serial}`]),
    ...(isThrough ? [", without a write cache"] : []),
    ")",
  ].join("");
}

function describeInterface({ model, mac }: NetworkInterface): string {
  return mac === undefined ? model : `${model} ${mac}`;
}

function formatExactBytes(sizeBytes: number): string {
  const rounded = formatBytes(sizeBytes);
  return /\./.test(rounded) ? `${sizeBytes} bytes` : rounded;
}
