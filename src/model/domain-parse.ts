import { randomUUID } from "node:crypto";
import { QmError } from "../base/errors.ts";
import { ElementReader } from "../xml/element-reader.ts";
import { readXml } from "../xml/read.ts";
import { parseAgentChannel, parseGraphics, parseInterface, parseSerialPort, readController } from "./device-parse.ts";
import { parseDisk } from "./disk-parse.ts";
import type { Disk, DomainDefinition, OsBoot } from "./domain.ts";
import { parseHardware, parseSleep } from "./hardware-parse.ts";
import type { Hardware } from "./hardware.ts";
import { readCount, readMemoryBytes } from "./memory-size.ts";
import { checkDomainName, checkPath } from "./names.ts";

export const maxVcpus = 1024;
const defaultArch = "x86_64";

export interface ParseDomainOptions {
  /** Makes the uuid of a domain whose XML has none. Default: a random one. */
  readonly newUuid?: () => string;
}

/**
 * Reads libvirt's `<domain>`, the subset of docs/reference/xml-domain.md. What we do not run is refused by name and never dropped.
 *
 * Errors: those of `readXml`; `QM_XML_UNSUPPORTED` (an element, attribute or value outside the subset),
 * `QM_XML_INVALID` (a missing or nonsensical value). Holds afterwards: `formatDomain` gives XML that reads as the same
 * definition; paths are absolute and normalised; targets and boot orders are unique.
 */
export function parseDomain(xml: string, options: ParseDomainOptions = {}): DomainDefinition {
  return ElementReader.readRoot(readXml(xml), "domain", (domain) => readDomain(domain, options.newUuid ?? randomUUID));
}

/** Reads a definition from an element of any name: `<inactiveDomain>` is one too. */
export function readDomain(domain: ElementReader, newUuid: () => string): DomainDefinition {
  domain.ignore("@id");
  const type = domain.choice("type", ["kvm", "qemu"] as const) ?? domain.fail("is missing", "@type");
  const name = domain.requireChild("name", (e) => checkDomainName(e.text(), e.path));
  const uuid = domain.child("uuid", parseUuid) ?? newUuid();
  const title = domain.child("title", parseTitle);
  const description = domain.child("description", (e) => e.text());
  const metadata = domain.child("metadata", (e) => e.document());
  const memoryBytes = domain.requireChild("memory", readMemoryBytes);
  domain.child("currentMemory", (e) => {
    if (readMemoryBytes(e) !== memoryBytes) e.unsupported(" with a value other than <memory>: there is no ballooning");
  });
  const vcpus = domain.child("vcpu", parseVcpus) ?? 1;
  const os = domain.requireChild("os", parseOs);
  const features = domain.child("features", (e) => (["acpi", "apic"] as const).filter((f) => e.hasChild(f))) ?? [];
  const cpuModel = domain.child("cpu", parseCpu);
  const sleep = domain.child("pm", (e) => parseSleep(e, os.arch));
  checkFixedBehaviour(domain);
  const devices = domain.child("devices", parseDevices) ?? { disks: [], interfaces: [], serials: [] };
  const { qemuArgs, qemuEnv } = domain.child("qemu:commandline", parseCommandLine) ?? { qemuArgs: [], qemuEnv: {} };
  checkBootOrders(domain, os.boot, devices.disks);
  return {
    type,
    name,
    uuid,
    ...(title === undefined ? {} : { title }),
    ...(description === undefined ? {} : { description }),
    ...(metadata === undefined ? {} : { metadata }),
    memoryBytes,
    vcpus,
    arch: os.arch,
    ...(os.machine === undefined ? {} : { machine: os.machine }),
    os: os.boot,
    features,
    ...(cpuModel === undefined ? {} : { cpuModel }),
    ...(sleep === undefined ? {} : { sleep }),
    ...devices,
    qemuArgs,
    qemuEnv,
  };
}

/** Accepts a uuid with or without dashes, in either case. */
export function parseUuid(element: ElementReader): string {
  const hex = element.token().toLowerCase().replaceAll("-", "");
  if (!/^[0-9a-f]{32}$/.test(hex)) element.fail(`'${element.token()}' is not a uuid`);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function parseTitle(element: ElementReader): string {
  const title = element.text();
  return /[\r\n]/.test(title) ? element.fail("must be one line") : title;
}

function parseVcpus(element: ElementReader): number {
  element.choice("placement", ["static"]);
  const count = readCount(element, element.token());
  return count >= 1 && count <= maxVcpus ? count : element.fail(`must be 1 to ${maxVcpus}`);
}

interface OsElement {
  readonly arch: string;
  readonly machine: string | undefined;
  readonly boot: OsBoot;
}

function parseOs(os: ElementReader): OsElement {
  const type = os.requireChild("type", (e) => {
    e.textChoice(["hvm"]);
    return { arch: readWord(e, "arch") ?? defaultArch, machine: readWord(e, "machine") };
  });
  const kernel = os.child("kernel", (e) => checkPath(e.text(), e.path));
  const initrd = os.child("initrd", (e) => checkPath(e.text(), e.path));
  const cmdline = os.child("cmdline", (e) => e.text());
  const bootOrder = os.children("boot", (e) => {
    return e.choice("dev", ["hd", "cdrom", "network"] as const) ?? e.fail("is missing", "@dev");
  });
  return {
    ...type,
    boot: {
      ...(kernel === undefined ? {} : { kernel }),
      ...(initrd === undefined ? {} : { initrd }),
      ...(cmdline === undefined ? {} : { cmdline }),
      bootOrder,
    },
  };
}

/** Architectures, machines and CPU models become parts of QEMU's comma-separated options. */
function readWord(element: ElementReader, name: string): string | undefined {
  const word = element.attribute(name);
  return word === undefined || isWord(word) ? word : element.fail(`'${word}' is not a plain word`, `@${name}`);
}

function isWord(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(text);
}

/**
 * `host-passthrough` is kept as `host`. `host-model` is refused: libvirt turns it into a model with a list of features, which
 * is not what QEMU's `host` is.
 */
function parseCpu(cpu: ElementReader): string {
  const mode = cpu.choice("mode", ["host-passthrough", "custom"] as const) ?? "custom";
  cpu.choice("check", ["none"]);
  if (mode === "host-passthrough") {
    cpu.choice("migratable", ["on"]);
    return "host";
  }
  cpu.choice("match", ["exact"]);
  return cpu.requireChild("model", (model) => {
    model.choice("fallback", ["forbid", "allow"]);
    const name = model.token();
    return isWord(name) ? name : model.fail(`'${name}' is not a plain word`);
  });
}

/** Elements with one supported value, which is what happens without them. */
function checkFixedBehaviour(domain: ElementReader): void {
  domain.child("clock", (clock) => clock.choice("offset", ["utc"]));
  domain.child("on_poweroff", (e) => e.textChoice(["destroy"]));
  domain.child("on_reboot", (e) => e.textChoice(["restart"]));
  domain.child("on_crash", (e) => e.textChoice(["destroy"]));
  domain.child("seclabel", (label) => label.choice("type", ["none"]) ?? label.fail("is missing", "@type"));
}

type Devices = Pick<DomainDefinition, "emulator" | "disks" | "interfaces" | "serials" | "graphics" | "agentChannel"> &
  Hardware;

function parseDevices(devices: ElementReader): Devices {
  const emulator = devices.child("emulator", (e) => checkPath(e.text(), e.path));
  const disks = devices.children("disk", parseDisk);
  const repeated = disks.find((disk, index) => disks.findIndex((other) => other.target === disk.target) !== index);
  if (repeated !== undefined) devices.fail(`two disks have the target '${repeated.target}'`, "/disk");
  const usb = devices.children("controller", readController).find((model) => model !== undefined);
  const interfaces = devices.children("interface", parseInterface);
  const serials = devices.children("serial", parseSerialPort);
  const agentChannel = devices.child("channel", parseAgentChannel);
  const graphics = devices.child("graphics", parseGraphics);
  return {
    ...parseHardware(devices, usb),
    ...(emulator === undefined ? {} : { emulator }),
    disks,
    interfaces,
    serials,
    ...(graphics === undefined ? {} : { graphics }),
    ...(agentChannel === undefined ? {} : { agentChannel }),
  };
}

function parseCommandLine(line: ElementReader): Pick<DomainDefinition, "qemuArgs" | "qemuEnv"> {
  const qemuArgs = line.children("qemu:arg", (arg) => arg.requireAttribute("value"));
  const qemuEnv = new Map<string, string>();
  line.children("qemu:env", (env) => {
    const name = env.requireAttribute("name");
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) env.fail(`'${name}' is not a variable's name`, "@name");
    if (qemuEnv.has(name)) env.fail(`'${name}' is given twice`, "@name");
    qemuEnv.set(name, env.attribute("value") ?? "");
  });
  return { qemuArgs, qemuEnv: Object.fromEntries(qemuEnv) };
}

function checkBootOrders(domain: ElementReader, os: OsBoot, disks: readonly Disk[]): void {
  const orders = disks.flatMap(({ bootIndex }) => (bootIndex === undefined ? [] : [bootIndex]));
  if (new Set(orders).size !== orders.length) domain.fail("two disks have the same <boot order>");
  if (orders.length > 0 && os.bootOrder.length > 0) {
    throw new QmError("QM_XML_INVALID", { element: "os/boot", reason: "excludes <boot order> in disks" });
  }
}
