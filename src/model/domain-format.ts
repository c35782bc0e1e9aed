import { makeElement, type XmlElement } from "../xml/element.ts";
import { knownNamespaces } from "../xml/element-reader.ts";
import { readXml } from "../xml/read.ts";
import { writeXml } from "../xml/write.ts";
import type { AgentChannel, Disk, DomainDefinition, NetworkInterface, SerialPort, VncGraphics } from "./domain.ts";
import { formatInputs, formatLastDevices, formatSleep, formatUsb } from "./hardware-format.ts";
import { formatBackingStore, formatMirror, formatSource } from "./image-xml.ts";

export interface FormatDomainOptions {
  /** Given for a running domain: its id, and with it each disk's backing chain and mirror are written. */
  readonly live?: { readonly id: number };
}

/**
 * Writes `<domain>` in libvirt's order of elements. Valid by `schemas/domain.rng`; `parseDomain` reads it as the same
 * definition, without what only live XML has. Errors: `QM_XML_INVALID` for a text that XML cannot carry.
 */
export function formatDomain(def: DomainDefinition, options: FormatDomainOptions = {}): string {
  return writeXml(buildDomain(def, options));
}

/** What {@link formatDomain} writes, for a document that holds it. */
export function buildDomain(def: DomainDefinition, options: FormatDomainOptions = {}): XmlElement {
  const isLive = options.live !== undefined;
  const commandLine = formatCommandLine(def);
  const root = makeElement("domain", { type: def.type, id: options.live?.id }, [
    makeElement("name", {}, def.name),
    makeElement("uuid", {}, def.uuid),
    optional("title", def.title),
    optional("description", def.description),
    def.metadata === undefined ? undefined : readXml(def.metadata),
    makeElement("memory", { unit: "KiB" }, def.memoryBytes / 1024),
    makeElement("currentMemory", { unit: "KiB" }, def.memoryBytes / 1024),
    makeElement("vcpu", { placement: "static" }, def.vcpus),
    formatOs(def),
    def.features.length === 0
      ? undefined
      : makeElement(
          "features",
          {},
          def.features.map((name) => makeElement(name)),
        ),
    def.cpuModel === undefined ? undefined : formatCpu(def.cpuModel),
    makeElement("clock", { offset: "utc" }),
    makeElement("on_poweroff", {}, "destroy"),
    makeElement("on_reboot", {}, "restart"),
    makeElement("on_crash", {}, "destroy"),
    def.sleep === undefined ? undefined : formatSleep(def.sleep),
    makeElement("devices", {}, [
      optional("emulator", def.emulator),
      ...def.disks.map((disk) => formatDisk(disk, isLive)),
      formatUsb(def),
      ...def.interfaces.map(formatInterface),
      ...def.serials.map(formatSerialPort),
      def.agentChannel === undefined ? undefined : formatAgentChannel(def.agentChannel),
      ...formatInputs(def),
      def.graphics === undefined ? undefined : formatGraphics(def.graphics, isLive),
      ...formatLastDevices(def),
    ]),
    commandLine,
  ]);
  return commandLine === undefined ? root : { ...root, declarations: knownNamespaces };
}

function optional(name: string, text: string | undefined): XmlElement | undefined {
  return text === undefined ? undefined : makeElement(name, {}, text);
}

function formatOs({ arch, machine, os }: DomainDefinition): XmlElement {
  return makeElement("os", {}, [
    makeElement("type", { arch, machine }, "hvm"),
    optional("kernel", os.kernel),
    optional("initrd", os.initrd),
    optional("cmdline", os.cmdline),
    ...os.bootOrder.map((dev) => makeElement("boot", { dev })),
  ]);
}

function formatCpu(model: string): XmlElement {
  return model === "host"
    ? makeElement("cpu", { mode: "host-passthrough", check: "none", migratable: "on" })
    : makeElement("cpu", { mode: "custom", match: "exact", check: "none" }, [
        makeElement("model", { fallback: "forbid" }, model),
      ]);
}

function formatDisk(disk: Disk, isLive: boolean): XmlElement {
  const { source, mirror } = disk;
  const backing = isLive ? (disk.backing ?? disk.statedBacking) : disk.statedBacking;
  const index = isLive ? 1 : undefined;
  const isMirroring = mirror?.state === "starting" || mirror?.state === "ready";
  return makeElement("disk", { type: source?.type ?? "file", device: disk.device }, [
    makeElement("driver", {
      name: "qemu",
      type: source?.format,
      cache: disk.cache,
      io: disk.io,
      discard: disk.discard,
      detect_zeroes: disk.detectZeroes,
    }),
    source === undefined ? undefined : formatSource(source, index),
    backing === undefined ? undefined : formatBackingStore(backing, index && index + 1),
    isLive && isMirroring ? formatMirror(mirror, "copy") : undefined,
    makeElement("target", { dev: disk.target, bus: disk.bus }),
    disk.readonly ? makeElement("readonly") : undefined,
    optional("serial", disk.serial),
    disk.bootIndex === undefined ? undefined : makeElement("boot", { order: disk.bootIndex }),
  ]);
}

function formatInterface({ type, mac, bridge, model }: NetworkInterface): XmlElement {
  return makeElement("interface", { type }, [
    mac === undefined ? undefined : makeElement("mac", { address: mac }),
    bridge === undefined ? undefined : makeElement("source", { bridge }),
    makeElement("model", { type: model }),
  ]);
}

function formatSerialPort({ type, path }: SerialPort, port: number): XmlElement {
  return makeElement("serial", { type }, [
    makeElement("source", { mode: type === "unix" ? "bind" : undefined, path }),
    makeElement("target", { port }),
  ]);
}

function formatAgentChannel({ path, name }: AgentChannel): XmlElement {
  return makeElement("channel", { type: "unix" }, [
    path === undefined ? undefined : makeElement("source", { mode: "bind", path }),
    makeElement("target", { type: "virtio", name }),
  ]);
}

/** A port that QEMU chose is shown in live XML only. */
function formatGraphics({ port, autoport, listen, socket }: VncGraphics, isLive: boolean): XmlElement {
  if (socket !== undefined) {
    return makeElement("graphics", { type: "vnc", socket }, [makeElement("listen", { type: "socket", socket })]);
  }
  const shownPort = autoport && !isLive ? -1 : (port ?? -1);
  return makeElement("graphics", { type: "vnc", port: shownPort, autoport: autoport ? "yes" : "no", listen }, [
    makeElement("listen", { type: "address", address: listen }),
  ]);
}

function formatCommandLine({ qemuArgs, qemuEnv }: DomainDefinition): XmlElement | undefined {
  const env = Object.entries(qemuEnv);
  if (qemuArgs.length === 0 && env.length === 0) return undefined;
  return qemu("commandline", {}, [
    ...qemuArgs.map((value) => qemu("arg", { value })),
    ...env.map(([name, value]) => qemu("env", { name, value })),
  ]);
}

function qemu(...args: Parameters<typeof makeElement>): XmlElement {
  return { ...makeElement(...args), prefix: "qemu" };
}
