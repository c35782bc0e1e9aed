/** Everything of a domain's command line that is not a disk: network, serial ports, graphics, the agent's channel. */
import { QmError } from "../base/errors.ts";
import type { AgentChannel, NetworkInterface, SerialPort, VncGraphics } from "../model/domain.ts";
import { checkWord, formatOption, quoteValue } from "./option-value.ts";

export function buildInterface(nic: NetworkInterface, index: number, bootIndex: number | undefined): string[] {
  const id = `qm-net${index}`;
  if (nic.type === "bridge" && nic.bridge === undefined) {
    throw new QmError("QM_INVALID", { reason: `interface ${index} of type bridge names no bridge` });
  }
  const device = {
    driver: nic.model === "virtio" ? "virtio-net-pci" : checkWord("network card model", nic.model),
    id: `${id}-card`,
    netdev: id,
    ...(nic.mac === undefined ? {} : { mac: nic.mac }),
    ...(bootIndex === undefined ? {} : { bootindex: bootIndex }),
  };
  // `-netdev` takes JSON only from QEMU 7.2 on.
  const netdev = formatOption(nic.type, { id, br: nic.type === "bridge" ? nic.bridge : undefined });
  return ["-netdev", netdev, "-device", JSON.stringify(device)];
}

export function buildSerial(serial: SerialPort, index: number): string[] {
  const id = `qm-serial${index}`;
  const backend =
    serial.type === "file"
      ? formatOption("file", { id, path: serial.path, append: "on" })
      : formatSocket(id, serial.path);
  return ["-chardev", backend, "-serial", `chardev:${id}`];
}

export function buildGraphics(graphics: VncGraphics): string[] {
  return ["-vnc", formatVnc(graphics)];
}

export function buildAgentChannel(channel: AgentChannel, socket: string): string[] {
  const port = {
    driver: "virtserialport",
    id: "qm-agent0",
    bus: "qm-vserial0.0",
    chardev: "qm-agent",
    name: channel.name,
  };
  return [
    "-chardev",
    formatSocket("qm-agent", socket),
    "-device",
    JSON.stringify({ driver: "virtio-serial-pci", id: "qm-vserial0" }),
    "-device",
    JSON.stringify(port),
  ];
}

/** A UNIX socket that QEMU listens on without waiting for anybody. */
export function formatSocket(id: string, path: string): string {
  return formatOption("socket", { id, path, server: "on", wait: "off" });
}

function formatVnc({ socket, listen, port, autoport }: VncGraphics): string {
  if (socket !== undefined) return `unix:${quoteValue(socket)}`;
  const host = listen.includes(":") ? `[${listen}]` : listen;
  if (autoport || port === undefined || port < 0) return `${quoteValue(host)}:0,to=99`;
  const firstPort = 5900;
  if (port < firstPort) throw new QmError("QM_INVALID", { reason: `VNC port ${port} is below ${firstPort}` });
  return `${quoteValue(host)}:${port - firstPort}`;
}
