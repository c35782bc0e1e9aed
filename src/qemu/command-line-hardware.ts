/** The devices of `Hardware` on QEMU's command line. They come after all others, whose places on the bus they must not change. */
import { QmError } from "../base/errors.ts";
import type { DomainDefinition } from "../model/domain.ts";

/** Options that come before the devices. */
export function buildSleep({ sleep, machine }: DomainDefinition): string[] {
  if (sleep === undefined) return [];
  const chip = machine !== undefined && /(^|-)q35(-|$)/.test(machine) ? "ICH9-LPC" : "PIIX4_PM";
  const write = (property: string, isEnabled: boolean | undefined): string[] =>
    isEnabled === undefined ? [] : ["-global", `${chip}.${property}=${isEnabled ? 0 : 1}`];
  return [...write("disable_s3", sleep.toMemory), ...write("disable_s4", sleep.toDisk)];
}

const videoDrivers = { vga: "VGA", virtio: "virtio-vga" } as const;

/** Empty for a domain without a graphics card. */
export function buildVideo({ video, graphics, arch }: DomainDefinition): string[] {
  const model = video ?? (graphics === undefined ? "none" : "vga");
  if (model === "none") return [];
  if (model === "virtio" && arch !== "x86_64" && arch !== "i686") {
    throw new QmError("QM_INVALID", { reason: `video model 'virtio' is not supported on ${arch}` });
  }
  return device({ driver: videoDrivers[model], id: "qm-video0" });
}

export function buildHardware({ usb, inputs = [], balloon, rng }: DomainDefinition): string[] {
  const needsUsb = usb !== undefined || inputs.some(({ bus }) => bus === "usb");
  return [
    ...(needsUsb ? device({ driver: "qemu-xhci", id: "qm-usb0" }) : []),
    ...inputs.flatMap(({ type, bus }, index) =>
      device(
        bus === "usb"
          ? { driver: type === "keyboard" ? "usb-kbd" : `usb-${type}`, id: `qm-input${index}`, bus: "qm-usb0.0" }
          : { driver: `virtio-${type}-pci`, id: `qm-input${index}` },
      ),
    ),
    ...(balloon === undefined ? [] : device({ driver: "virtio-balloon-pci", id: "qm-balloon0" })),
    ...(rng === undefined
      ? []
      : [
          ...["-object", JSON.stringify({ "qom-type": "rng-random", id: "qm-rng-source0", filename: rng })],
          ...device({ driver: "virtio-rng-pci", id: "qm-rng0", rng: "qm-rng-source0" }),
        ]),
  ];
}

function device(options: object): string[] {
  return ["-device", JSON.stringify(options)];
}
