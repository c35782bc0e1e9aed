/** QEMU's argument vector for a domain. Pure: it reads no file and asks no QEMU. */
import type { DomainDefinition } from "../model/domain.ts";
import type { ImageChain } from "../model/image.ts";
import { orderBoot, placeDisks } from "./command-line-bus.ts";
import { buildAgentChannel, buildGraphics, buildInterface, buildSerial, formatSocket } from "./command-line-device.ts";
import { describeDiskDevice, describeDiskNodes } from "./command-line-disk.ts";
import { buildHardware, buildSleep, buildVideo } from "./command-line-hardware.ts";
import { checkWord, formatOption } from "./option-value.ts";

/** Absolute paths of one domain's run, and what is known about its images. */
export interface RuntimePaths {
  readonly qmpSocket: string;
  readonly pidFile: string;
  readonly logFile: string;
  /** Used where the definition has an agent channel without a path of its own. */
  readonly agentSocket: string;
  /** By disk target, active image first. Every disk whose image is not raw needs its entry. */
  readonly chains: Readonly<Record<string, ImageChain>>;
  /** Start with the vCPUs stopped, until `cont`. */
  readonly startPaused?: boolean;
}

/** The QEMU binary of a domain: a path, or a name to be found on the PATH. */
export function chooseEmulator(def: DomainDefinition): string {
  return def.emulator ?? `qemu-system-${checkWord("architecture", def.arch)}`;
}

/**
 * The arguments after the binary's name. JSON is used wherever QEMU (6.2 and later) takes it, other values have their commas
 * doubled: no name, path or label of a definition can add an option. `qemuArgs` come last, as given.
 * Throws `QM_INVALID` for what cannot be expressed, `QM_CHAIN_BROKEN` for a chain that does not fit its disk.
 */
export function buildCommandLine(def: DomainDefinition, runtime: RuntimePaths): string[] {
  const boot = orderBoot(def);
  return [
    ...buildIdentity(def),
    ...buildMachine(def),
    ...buildBoot(def),
    ...buildSandbox(def),
    ...["-chardev", formatSocket("qm-qmp", runtime.qmpSocket), "-mon", "chardev=qm-qmp,mode=control"],
    ...["-pidfile", runtime.pidFile],
    ...buildSleep(def),
    ...(runtime.startPaused === true ? ["-S"] : []),
    ...buildDisks(def, runtime, boot.disks),
    ...def.interfaces.flatMap((nic, index) => buildInterface(nic, index, index === 0 ? boot.network : undefined)),
    ...def.serials.flatMap(buildSerial),
    ...(def.graphics === undefined ? [] : buildGraphics(def.graphics)),
    ...buildVideo(def),
    ...(def.agentChannel === undefined
      ? []
      : buildAgentChannel(def.agentChannel, def.agentChannel.path ?? runtime.agentSocket)),
    ...buildHardware(def),
    ...def.qemuArgs,
  ];
}

function buildIdentity(def: DomainDefinition): string[] {
  const name = formatOption("", { guest: def.name, process: `qemu:${def.name}` });
  return ["-name", name, "-uuid", def.uuid, "-nodefaults", "-no-user-config", "-display", "none"];
}

function buildMachine(def: DomainDefinition): string[] {
  const isX86 = def.arch === "x86_64" || def.arch === "i686";
  const machine = formatOption("", {
    type: def.machine,
    accel: def.type === "kvm" ? "kvm" : "tcg",
    // As in libvirt: no <acpi/> means none.
    acpi: isX86 ? (def.features.includes("acpi") ? "on" : "off") : undefined,
  });
  const cpu = def.cpuModel ?? (def.type === "kvm" ? "host" : undefined);
  return [
    ...["-machine", machine],
    ...(cpu === undefined ? [] : ["-cpu", checkWord("CPU model", cpu)]),
    ...["-m", `size=${def.memoryBytes}b`, "-smp", String(def.vcpus)],
  ];
}

function buildBoot({ os }: DomainDefinition): string[] {
  return [
    ...["-boot", "strict=on"],
    ...(os.kernel === undefined ? [] : ["-kernel", os.kernel]),
    ...(os.initrd === undefined ? [] : ["-initrd", os.initrd]),
    ...(os.cmdline === undefined ? [] : ["-append", os.cmdline]),
  ];
}

function buildSandbox(def: DomainDefinition): string[] {
  // QEMU reaches a bridge through a setuid helper that it starts itself.
  const startsHelper = def.interfaces.some(({ type }) => type === "bridge");
  const helperRules: Record<string, string> = startsHelper ? {} : { elevateprivileges: "deny", spawn: "deny" };
  return ["-sandbox", formatOption("on", { obsolete: "deny", ...helperRules, resourcecontrol: "deny" })];
}

function buildDisks(def: DomainDefinition, runtime: RuntimePaths, bootIndexes: ReadonlyMap<string, number>): string[] {
  const { controllers, places } = placeDisks(def);
  const nodes = def.disks.flatMap((disk) => describeDiskNodes(disk, runtime.chains[disk.target]));
  const devices = def.disks.map((disk) =>
    describeDiskDevice(disk, places.get(disk.target) ?? {}, bootIndexes.get(disk.target)),
  );
  return [
    ...nodes.flatMap((node) => ["-blockdev", JSON.stringify(node)]),
    ...[...controllers, ...devices].flatMap((device) => ["-device", JSON.stringify(device)]),
  ];
}
