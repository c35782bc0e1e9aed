/** The subset of libvirt's `<domain>` that qmirror runs. Parsed by `domain-parse.ts`, written by `domain-format.ts`. */
import type { Hardware } from "./hardware.ts";
import type { ImageRef } from "./image.ts";
import type { DiskMirror } from "./mirror.ts";

export interface DomainDefinition extends Hardware {
  /** Accelerator: `kvm` or `qemu` (TCG). */
  readonly type: "kvm" | "qemu";
  readonly name: string;
  /** Lower case, with dashes. Generated when the XML has none. */
  readonly uuid: string;
  readonly title?: string;
  readonly description?: string;
  readonly memoryBytes: number;
  readonly vcpus: number;
  readonly arch: string;
  /** QEMU's machine type; absent: QEMU's default for the architecture. */
  readonly machine?: string;
  readonly os: OsBoot;
  readonly features: readonly ("acpi" | "apic")[];
  readonly cpuModel?: string;
  /** QEMU binary; absent: found on the PATH by architecture. */
  readonly emulator?: string;
  readonly disks: readonly Disk[];
  readonly interfaces: readonly NetworkInterface[];
  readonly serials: readonly SerialPort[];
  readonly graphics?: VncGraphics;
  readonly agentChannel?: AgentChannel;
  /** `<qemu:commandline>`: appended last, as given. */
  readonly qemuArgs: readonly string[];
  readonly qemuEnv: Readonly<Record<string, string>>;
}

export interface OsBoot {
  readonly kernel?: string;
  readonly initrd?: string;
  readonly cmdline?: string;
  readonly bootOrder: readonly ("hd" | "cdrom" | "network")[];
}

export const diskBuses = ["virtio", "scsi", "sata"] as const;
export type DiskBus = (typeof diskBuses)[number];

export interface Disk {
  /** `<target dev=…>`, the disk's name everywhere: `vda`. */
  readonly target: string;
  readonly bus: DiskBus;
  readonly device: "disk" | "cdrom";
  /** The active image; a cdrom may be empty. */
  readonly source?: ImageRef;
  /** Live XML only: the layers below the active image, nearest first. */
  readonly backing?: readonly ImageRef[];
  /**
   * What the definition's `<backingStore>` says is below the active image. Headers are the truth for layers on this host; this is
   * it for those on the network, which nobody here opens. See `settleBacking`.
   */
  readonly statedBacking?: readonly ImageRef[];
  /** Live XML only. */
  readonly mirror?: DiskMirror;
  readonly cache?: "none" | "writeback" | "writethrough" | "directsync" | "unsafe";
  readonly io?: "threads" | "native" | "io_uring";
  readonly discard?: "unmap" | "ignore";
  readonly detectZeroes?: "off" | "on" | "unmap";
  readonly readonly: boolean;
  readonly serial?: string;
  readonly bootIndex?: number;
}

export interface NetworkInterface {
  readonly type: "user" | "bridge";
  /** Bridge name, for `bridge`. */
  readonly bridge?: string;
  readonly mac?: string;
  readonly model: string;
}

export interface SerialPort {
  readonly type: "file" | "unix";
  readonly path: string;
}

export interface VncGraphics {
  /** TCP port; -1 or absent with `autoport`: chosen by QEMU. */
  readonly port?: number;
  readonly autoport: boolean;
  readonly listen: string;
  readonly socket?: string;
}

export interface AgentChannel {
  /** UNIX socket; absent: qmirror chooses one in its runtime directory. */
  readonly path?: string;
  readonly name: "org.qemu.guest_agent.0";
}
