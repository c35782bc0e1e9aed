/** The devices of `<domain>` other than disks. */
import { isIP } from "node:net";
import type { ElementReader } from "../xml/element-reader.ts";
import type { AgentChannel, NetworkInterface, SerialPort, VncGraphics } from "./domain.ts";
import { readCount } from "./memory-size.ts";
import { checkPath } from "./names.ts";

export const interfaceModels = ["virtio", "e1000", "e1000e", "rtl8139"] as const;
export const defaultVncListen = "127.0.0.1";
const firstVncPort = 5900;
const lastPort = 65535;
const agentName = "org.qemu.guest_agent.0";

/** Reads `<interface>`; without a model it is `virtio`. */
export function parseInterface(nic: ElementReader): NetworkInterface {
  const type = nic.choice("type", ["user", "bridge"] as const) ?? nic.fail("is missing", "@type");
  nic.ignore("alias");
  const mac = nic.child("mac", parseMac);
  const bridge = type === "bridge" ? nic.requireChild("source", parseBridge) : undefined;
  const model = nic.child("model", (m) => m.choice("type", interfaceModels)) ?? "virtio";
  return { type, ...(bridge === undefined ? {} : { bridge }), ...(mac === undefined ? {} : { mac }), model };
}

function parseMac(element: ElementReader): string {
  const mac = element.requireAttribute("address").toLowerCase();
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac)) element.fail(`'${mac}' is not a MAC address`, "@address");
  const isMulticast = (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
  return isMulticast ? element.fail(`'${mac}' is a multicast address`, "@address") : mac;
}

function parseBridge(source: ElementReader): string {
  const name = source.requireAttribute("bridge");
  // Linux: IFNAMSIZ is 16 with the final NUL.
  return /^[A-Za-z0-9_.-]{1,15}$/.test(name) ? name : source.fail(`'${name}' is not a bridge's name`, "@bridge");
}

/** Reads `<serial>`, the `index`th. Its `<target>` may only say what we do anyway. */
export function parseSerialPort(serial: ElementReader, index: number): SerialPort {
  const type = serial.choice("type", ["file", "unix"] as const) ?? serial.fail("is missing", "@type");
  serial.ignore("alias");
  const path = serial.requireChild("source", (source) => {
    if (type === "unix") readListeningMode(source);
    return checkPath(source.requireAttribute("path"), `${source.path}@path`);
  });
  serial.child("target", (target) => {
    target.choice("port", [String(index)]);
    target.choice("type", ["isa-serial"]);
    target.child("model", (model) => model.choice("name", ["isa-serial"]));
  });
  return { type, path };
}

/** QEMU always listens. libvirt's default is to connect, so the mode must be given. */
function readListeningMode(source: ElementReader): void {
  if (source.choice("mode", ["bind"]) === undefined) source.fail("is missing: 'bind' is needed", "@mode");
}

/** Reads `<graphics type='vnc'>`. `autoport='yes'` and `port='-1'` mean the same; a port beside them is output only. */
export function parseGraphics(graphics: ElementReader): VncGraphics {
  if (graphics.choice("type", ["vnc"]) === undefined) graphics.fail("is missing", "@type");
  const portText = graphics.attribute("port");
  const wantsAutoport = graphics.choice("autoport", ["yes", "no"] as const) ?? "no";
  const { address, socket } = readListen(graphics);
  const listen = address ?? defaultVncListen;
  if (socket !== undefined) {
    if (portText !== undefined || wantsAutoport === "yes" || address !== undefined) {
      graphics.fail("has both a socket and a port or address");
    }
    return { autoport: false, listen, socket };
  }
  if (wantsAutoport === "yes" || portText === undefined || portText === "-1") return { autoport: true, listen };
  const port = readCount(graphics, portText, "@port");
  if (port < firstVncPort || port > lastPort) graphics.fail(`must be ${firstVncPort} to ${lastPort}`, "@port");
  return { port, autoport: false, listen };
}

/** `<graphics listen=… socket=…>` and the `<listen>` element say the same thing; together they must agree. */
function readListen(graphics: ElementReader): { address: string | undefined; socket: string | undefined } {
  const outer = { address: graphics.attribute("listen"), socket: graphics.attribute("socket") };
  const inner = graphics.child("listen", (listen) =>
    listen.choice("type", ["address", "socket"]) === "socket"
      ? { address: undefined, socket: listen.requireAttribute("socket") }
      : { address: listen.attribute("address"), socket: undefined },
  );
  if (outer.address !== undefined && inner?.address !== undefined && outer.address !== inner.address) {
    graphics.fail("differs from its <listen>", "@listen");
  }
  if (outer.socket !== undefined && inner?.socket !== undefined && outer.socket !== inner.socket) {
    graphics.fail("differs from its <listen>", "@socket");
  }
  const address = outer.address ?? inner?.address;
  const socket = outer.socket ?? inner?.socket;
  if (address !== undefined && isIP(address) === 0) graphics.fail(`'${address}' is not an IP address`, "@listen");
  return { address, socket: socket === undefined ? undefined : checkPath(socket, `${graphics.path}@socket`) };
}

/** Reads `<channel>`: only the guest agent's. The target's `state` is output only. */
export function parseAgentChannel(channel: ElementReader): AgentChannel {
  if (channel.choice("type", ["unix"]) === undefined) channel.fail("is missing", "@type");
  channel.ignore("alias");
  const path = channel.child("source", (source) => {
    source.choice("mode", ["bind"]);
    const given = source.attribute("path");
    if (given === undefined) return undefined;
    readListeningMode(source);
    return checkPath(given, `${source.path}@path`);
  });
  channel.requireChild("target", (target) => {
    target.ignore("@state");
    if (target.choice("type", ["virtio"]) === undefined) target.fail("is missing", "@type");
    if (target.choice("name", [agentName]) === undefined) target.fail("is missing", "@name");
  });
  return { ...(path === undefined ? {} : { path }), name: agentName };
}

/** The controllers that qmirror's machines have anyway. */
const controllerModels = {
  pci: ["pcie-root", "pci-root"],
  sata: [],
  scsi: ["virtio-scsi"],
  "virtio-serial": [],
  usb: ["none", "qemu-xhci"],
} as const satisfies Record<string, readonly string[]>;
const controllerTypes = Object.keys(controllerModels) as (keyof typeof controllerModels)[];

/**
 * Accepts a `<controller>` that says no more than what is so anyway, and keeps nothing of it; but for usb, which a machine has or
 * has not: the model is returned.
 */
export function readController(controller: ElementReader): "none" | "qemu-xhci" | undefined {
  const type = controller.choice("type", controllerTypes) ?? controller.fail("is missing", "@type");
  controller.choice("index", ["0"]);
  const models: readonly string[] = controllerModels[type];
  if (models.length === 0) return undefined;
  const model =
    controller.choice("model", models) ??
    controller.unsupported(` without a model for '${type}' (supported: ${models.join(", ")})`);
  return type === "usb" && (model === "none" || model === "qemu-xhci") ? model : undefined;
}
