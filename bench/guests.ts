/** Witness guests for the benchmark, each with a second monitor so that it can stand still while another is measured. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeWitnessDomain } from "../src/testing/witness/witness-domain.ts";
import type { Guest } from "./contender.ts";

const cacheDir = fileURLToPath(new URL("../.cache", import.meta.url));
const slots = 1024;
export const guestDiskBytes = 8 * 1024 * 1024;
const idleIntervalUs = 600e6;

export const loads = ["idle", "writes"] as const;
/** `writes`: 4 KiB durable records to every disk in turn, without a pause. `idle`: one record, then none for minutes. */
export type Load = (typeof loads)[number];

export interface BenchGuest extends Guest {
  readonly serial: string;
  /** QMP socket of its own for `stop` and `cont`. */
  readonly monitor: string;
}

/** Makes the guest's files in `directory`, with its mirrors in a directory of their own. */
export async function makeGuest(directory: string, name: string, disks: number, load: Load): Promise<BenchGuest> {
  const intervalUs = load === "idle" ? idleIntervalUs : 0;
  const options = { name, directory, cacheDir, disks, sizeBytes: guestDiskBytes, slots, run: 1n, intervalUs };
  await mkdir(join(directory, "mirrors"), { recursive: true });
  const { xml, serial, images } = await makeWitnessDomain(options);
  const monitor = join(directory, "monitor.sock");
  return {
    name,
    xml: withMonitor(xml, monitor),
    serial,
    monitor,
    disks: images.map(({ path }, index) => {
      const target = `vd${String.fromCharCode(97 + index)}`;
      const mirror = join(directory, "mirrors", `${target}.s1`);
      return { target, base: path, overlay: join(directory, "source", `${target}.s1`), mirror };
    }),
  };
}

function withMonitor(xml: string, path: string): string {
  const args = ["-qmp", `unix:${path},server=on,wait=off`].map((value) => `<qemu:arg value='${value}'/>`);
  return xml
    .replace("<domain ", "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' ")
    .replace("</domain>", `<qemu:commandline>${args.join("")}</qemu:commandline></domain>`);
}
