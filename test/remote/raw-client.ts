/** A client that sends what a test wants, and a server with a facade in memory. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FrameCutter } from "../../src/remote/frames.ts";
import { createRemoteServers } from "../../src/remote/index.ts";
import {
  programs,
  readBody,
  readPacket,
  writePacket,
  type Packet,
  type PacketHeader,
} from "../../src/remote/packets.ts";
import { authList, connectOpen, wireError, type Procedure, type WireError } from "../../src/remote/protocol/index.ts";
import { struct } from "../../src/remote/xdr/index.ts";
import { BoundedQueue } from "../../src/base/bounded-queue.ts";
import { FakeFacade } from "../http/fake-facade.ts";

const nothing = struct({});

export class RawClient {
  readonly socket: Socket;
  readonly #cutter = new FrameCutter();
  readonly #packets = new BoundedQueue<Packet>(10_000);
  readonly closed: Promise<unknown>;
  #serial = 0;

  constructor(path: string) {
    this.socket = connect(path);
    this.closed = once(this.socket, "close");
    // A reset is one of the ways in which the server hangs up.
    this.socket.on("error", () => undefined);
    this.socket.on("data", (chunk: Buffer) => {
      for (const frame of this.#cutter.push(chunk)) this.#packets.push(readPacket(frame));
    });
    this.socket.once("close", () => this.#packets.end(new Error("the server hung up")));
  }

  header(procedure: number, change: Partial<PacketHeader> = {}): PacketHeader {
    this.#serial += 1;
    const { remote: program } = programs;
    return { program, version: 1, procedure, type: "call", serial: this.#serial, status: "ok", ...change };
  }

  send<A>({ number, args }: Procedure<A, unknown>, value: A, change: Partial<PacketHeader> = {}): number {
    const header = this.header(number, change);
    this.socket.write(writePacket(header, args, value));
    return header.serial;
  }

  sendEmpty(header: PacketHeader): void {
    this.socket.write(writePacket(header, nothing, {}));
  }

  /** The next packet, whatever it is. */
  async next(): Promise<Packet> {
    return await this.#packets.take("waiting for the server", AbortSignal.timeout(5000));
  }

  async call<A, R>(procedure: Procedure<A, R>, value: A): Promise<R> {
    const serial = this.send(procedure, value);
    const packet = await this.next();
    assert.deepEqual([packet.serial, packet.type], [serial, "reply"]);
    if (packet.status === "error") assert.fail(readBody(packet, wireError).message ?? "");
    return readBody(packet, procedure.ret);
  }

  /** The error of the next answer. */
  async nextError(): Promise<WireError> {
    const packet = await this.next();
    assert.equal(packet.status, "error");
    return readBody(packet, wireError);
  }

  async open(readOnly = false): Promise<this> {
    assert.deepEqual(await this.call(authList, {}), { types: [0] });
    await this.call(connectOpen, { uri: "qemu:///system", flags: { readOnly } });
    return this;
  }
}

export class RemoteRig {
  readonly facade = new FakeFacade();
  readonly #directory = mkdtempSync(join(tmpdir(), "qmirror-remote-"));
  readonly #clients: RawClient[] = [];
  readonly warnings: string[] = [];
  readonly #servers = createRemoteServers({
    facade: this.facade,
    host: {
      hostname: "here",
      uri: "qemu:///system",
      readQemuVersion: async () => 7_002_022,
      hasKvm: async () => false,
    },
    logger: { info: () => {}, warn: (fields) => void this.warnings.push(JSON.stringify(fields)), error: () => {} },
  });

  static async start(): Promise<RemoteRig> {
    const rig = new RemoteRig();
    for (const [name, server] of [
      ["full", rig.#servers.full],
      ["read-only", rig.#servers.readOnly],
    ] as const) {
      server.listen(join(rig.#directory, name));
      await once(server, "listening");
    }
    return rig;
  }

  connect(name: "full" | "read-only" = "full"): RawClient {
    const client = new RawClient(join(this.#directory, name));
    this.#clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.#clients) socket.destroy();
    await this.#servers.close();
    rmSync(this.#directory, { recursive: true });
  }
}
