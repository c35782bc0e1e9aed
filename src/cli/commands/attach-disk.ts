import { statSync } from "node:fs";
import { resolve } from "node:path";
import { Option, type Command } from "commander";
import { usageError, type CliContext, type CommandExample } from "../context.ts";
import { declareScope, scopeRules, toDeviceScope, type ScopeOptions } from "../device-scope.ts";
import { formatDiskXml } from "../disk-xml.ts";

interface Options extends ScopeOptions {
  readonly targetbus?: string;
  readonly driver?: string;
  readonly subdriver?: string;
  readonly cache?: string;
  readonly io?: string;
  readonly type?: "disk" | "cdrom";
  readonly mode?: "readonly";
  readonly sourcetype?: "file" | "block";
  readonly serial?: string;
  readonly printXml?: true;
}

export const rules = scopeRules;

export const examples: readonly CommandExample[] = [
  ["attach-disk vm /data/extra.qcow2 vdb --subdriver qcow2 --persistent", "Add a disk, now and for later starts"],
];

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .argument("<source>", "the image, a file or a block device; empty: no medium in the drive")
    .argument("<target>", "the disk's target, vdb say")
    .option("--targetbus <name>", "its bus: virtio, scsi, sata, … (default: from the target)")
    .option("--driver <name>", "the driver's name: qemu")
    .option("--subdriver <name>", "the image's format: qcow2 or raw")
    .option("--cache <name>", "none, writethrough, writeback, directsync or unsafe")
    .option("--io <name>", "threads, native or io_uring")
    .addOption(new Option("--type <name>", "what the guest sees").choices(["disk", "cdrom"]))
    .option("--mode <name>", "readonly", parseMode)
    .addOption(new Option("--sourcetype <name>", "what the source is (default: looked up)").choices(["file", "block"]))
    .option("--serial <name>", "serial number that the guest sees")
    .option("--print-xml", "print the disk's XML, and do nothing");
  declareScope(command).action(async (domain: string, source: string, target: string, options: Options) => {
    const { client, io, out } = context;
    const path = source === "" ? "" : resolve(io.cwd, source);
    const xml = toDiskXml(path, target, options);
    if (options.printXml === true) return context.json ? out.json({ xml }) : out.document(xml);
    const disk = await client.attachDisk(domain, { xml, ...toDeviceScope(options) });
    if (context.json) out.json(disk);
    else out.line("Disk attached successfully");
  });
}

function parseMode(text: string): "readonly" {
  if (text === "readonly") return text;
  throw usageError(
    text === "shareable"
      ? "--mode shareable is refused: a disk that others write to cannot be copied or taken a snapshot of"
      : `--mode '${text}' is unknown: it may be readonly`,
  );
}

function toDiskXml(source: string, target: string, options: Options): string {
  const { sourcetype, targetbus, type, subdriver, driver, cache, io, serial } = options;
  const optional = { bus: targetbus, device: type, format: subdriver, driver, cache, io, serial };
  return formatDiskXml({
    source,
    target,
    sourceType: sourcetype ?? (isBlockDevice(source) ? "block" : "file"),
    readonly: options.mode === "readonly",
    ...(Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)) as Partial<
      Record<keyof typeof optional, string>
    >),
  });
}

/** As far as one can see from here; the daemon has the last word. */
function isBlockDevice(path: string): boolean {
  try {
    return path !== "" && statSync(path).isBlockDevice();
  } catch {
    return false;
  }
}
