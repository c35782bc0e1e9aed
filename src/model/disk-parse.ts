import type { ElementReader } from "../xml/element-reader.ts";
import { diskBuses, type Disk, type DiskBus } from "./domain.ts";
import { diskFormats, imageTypes, type ImageRef } from "./image.ts";
import { readBackingStore, readSource } from "./image-xml.ts";
import { readCount } from "./memory-size.ts";

/** By the prefix of the target's name, where the XML names no bus. `hd` would be IDE, which we do not run. */
const busOfPrefix: Readonly<Record<string, DiskBus>> = { vd: "virtio", sd: "scsi" };

/**
 * Reads `<disk>`. The image's format is the driver's, `raw` where it has none, as in libvirt: never probed.
 * `<mirror>` and `<alias>` are output only: a mirror is made by a snapshot.
 */
export function parseDisk(disk: ElementReader): Disk {
  const type = disk.choice("type", imageTypes) ?? "file";
  const device = disk.choice("device", ["disk", "cdrom"] as const) ?? "disk";
  const driver = disk.child("driver", parseDriver) ?? { format: "raw" as const, tuning: {} };
  const source = disk.child("source", (s) => readSource(s, type, driver.format));
  const target = disk.requireChild("target", (t) => parseTarget(t, device));
  const statedBacking = disk.child("backingStore", readBackingStore);
  disk.ignore("mirror", "alias");
  const readonly = disk.hasChild("readonly");
  const serial = disk.child("serial", parseSerialNumber);
  const bootIndex = disk.child("boot", (boot) => {
    const order = readCount(boot, boot.requireAttribute("order"), "@order");
    return order > 0 ? order : boot.fail("must be 1 or more", "@order");
  });
  if (device === "disk" && source === undefined) disk.fail("has no <source>");
  if (source?.network !== undefined) checkNetworkDisk(disk, source, statedBacking, readonly || device === "cdrom");
  if (type === "network" && driver.tuning.io !== undefined) disk.unsupported(" on a network disk", "/driver@io");
  return {
    ...target,
    device,
    ...(source === undefined ? {} : { source }),
    ...(statedBacking === undefined ? {} : { statedBacking }),
    ...driver.tuning,
    readonly: readonly || device === "cdrom",
    ...(serial === undefined ? {} : { serial }),
    ...(bootIndex === undefined ? {} : { bootIndex }),
  };
}

/** Nobody here opens the image: what its header would say must be told. */
function checkNetworkDisk(
  disk: ElementReader,
  { format, network }: ImageRef,
  statedBacking: Disk["statedBacking"],
  isReadOnly: boolean,
): void {
  if (format !== "raw" && statedBacking === undefined) {
    disk.fail("is a qcow2 image on the network, so <backingStore> must say what it stands on, or be empty");
  }
  const protocol = network?.protocol;
  if (!isReadOnly && (protocol === "http" || protocol === "https")) {
    disk.fail(`cannot be written to by ${protocol}: it needs <readonly/>`);
  }
}

type Tuning = Pick<Disk, "cache" | "io" | "discard" | "detectZeroes">;

function parseDriver(driver: ElementReader): { format: ImageRef["format"]; tuning: Tuning } {
  driver.choice("name", ["qemu"]);
  const format = driver.choice("type", diskFormats) ?? "raw";
  const cache = driver.choice("cache", [
    "default",
    "none",
    "writeback",
    "writethrough",
    "directsync",
    "unsafe",
  ] as const);
  const io = driver.choice("io", ["threads", "native", "io_uring"] as const);
  const discard = driver.choice("discard", ["unmap", "ignore"] as const);
  const detectZeroes = driver.choice("detect_zeroes", ["off", "on", "unmap"] as const);
  if (io === "native" && cache !== "none" && cache !== "directsync") {
    driver.fail("'native' needs cache='none' or cache='directsync'", "@io");
  }
  return {
    format,
    tuning: {
      ...(cache === undefined || cache === "default" ? {} : { cache }),
      ...(io === undefined ? {} : { io }),
      ...(discard === undefined ? {} : { discard }),
      ...(detectZeroes === undefined ? {} : { detectZeroes }),
    },
  };
}

function parseTarget(target: ElementReader, device: Disk["device"]): { target: string; bus: DiskBus } {
  const name = target.requireAttribute("dev");
  const prefix = /^(vd|sd|hd|xvd)[a-z]{1,3}$/.exec(name)?.[1];
  if (prefix === undefined) target.fail(`'${name}' is not a disk's name such as vda`, "@dev");
  const bus = target.choice("bus", diskBuses) ?? busOfPrefix[prefix];
  if (bus === undefined) return target.fail(`is missing, and '${name}' does not tell it`, "@bus");
  if (device === "cdrom" && bus === "virtio") target.unsupported(" as 'virtio' for a cdrom", "@bus");
  return { target: name, bus };
}

function parseSerialNumber(serial: ElementReader): string {
  const text = serial.token();
  return /^[A-Za-z0-9 _.+-]+$/.test(text) ? text : serial.fail("may hold letters, digits, blanks and _ . + - only");
}
