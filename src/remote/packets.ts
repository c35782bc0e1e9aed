/** Packets: a header and what belongs to its procedure. */
import { maxFrameBytes } from "./frames.ts";
import { malformed, XdrReader, XdrWriter, type Codec } from "./xdr/index.ts";
import { QmError } from "../base/errors.ts";

export const programs = { remote: 0x20008086, qemu: 0x20008087, keepalive: 0x6b656570 } as const;
export const protocolVersion = 1;

/** Positions are the numbers on the wire. */
const packetTypes = ["call", "reply", "event", "stream", "call-with-fds", "reply-with-fds"] as const;
export type PacketType = (typeof packetTypes)[number];

const packetStatuses = ["ok", "error", "continue"] as const;
export type PacketStatus = (typeof packetStatuses)[number];

export interface PacketHeader {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  readonly type: PacketType;
  readonly serial: number;
  readonly status: PacketStatus;
}

export interface Packet extends PacketHeader {
  /** Stands at the beginning of the payload. */
  readonly body: XdrReader;
  readonly sizeBytes: number;
}

/** Reads a frame without its length word. Throws `QM_REMOTE_PROTOCOL`. */
export function readPacket(frame: Buffer): Packet {
  const body = new XdrReader(frame);
  const [program, version, procedure] = [body.readUint(), body.readUint(), body.readInt()];
  const type = choose(packetTypes, body.readUint(), "type");
  const serial = body.readUint();
  const status = choose(packetStatuses, body.readUint(), "status");
  return { program, version, procedure, type, serial, status, body, sizeBytes: frame.length };
}

function choose<T>(names: readonly T[], value: number, what: string): T {
  const name = names[value];
  if (name === undefined) throw malformed(`${value} is no packet ${what}`);
  return name;
}

/** A whole frame. Throws `QM_INTERNAL` when the value does not fit one. */
export function writePacket<T>(header: PacketHeader, codec: Codec<T>, value: T): Buffer {
  const writer = new XdrWriter();
  writer.writeUint(0);
  writer.writeUint(header.program);
  writer.writeUint(header.version);
  writer.writeInt(header.procedure);
  writer.writeUint(packetTypes.indexOf(header.type));
  writer.writeUint(header.serial);
  writer.writeUint(packetStatuses.indexOf(header.status));
  codec.encode(writer, value);
  if (writer.length > maxFrameBytes) {
    throw new QmError("QM_INTERNAL", { reason: `an answer of ${writer.length} bytes exceeds ${maxFrameBytes}` });
  }
  writer.replaceUint(0, writer.length);
  return writer.finish();
}

/** The payload of a packet, all of it. Throws `QM_REMOTE_PROTOCOL`. */
export function readBody<T>({ body }: Packet, codec: Codec<T>): T {
  const value = codec.decode(body);
  body.assertEnd();
  return value;
}
