/**
 * Stands between a client and a real QEMU's monitor: passes everything on, keeps what was sent, and lets faults happen at exact
 * commands. A fault that drops the connection drops it on both sides, and QEMU goes on.
 */
import { createConnection, type Socket } from "node:net";
import { isJsonObject, parseObject, type JsonObject } from "../qmp/framing.ts";
import { FaultPlan, type Faults } from "./fake-qemu/faults.ts";
import type { LoggedCommand } from "./fake-qemu/fake-qemu.ts";
import { startLineSession, type LineSession } from "./fake-qemu/line-session.ts";
import { serveSocket } from "./fake-qemu/socket-server.ts";

export interface QmpProxy {
  /** Where clients connect. */
  readonly path: string;
  /** Every command that a client sent, `qmp_capabilities` included, whether it was passed on or not. */
  readonly log: readonly LoggedCommand[];
  readonly faults: Faults;
  /** Ends both sides of every connection; QEMU goes on. Idempotent. */
  close(): Promise<void>;
}

/**
 * `upstream` is QEMU's socket, `listen` ours; without it a path of its own. Where `faults.dropConnectionAfter` is due, the
 * command is passed on, and the connection ends when its answer has come, which the client does not see.
 */
export async function startQmpProxy(options: { upstream: string; listen?: string }): Promise<QmpProxy> {
  const faults = new FaultPlan();
  const log: LoggedCommand[] = [];

  const onConnection = (client: Socket): void => {
    const upstream = createConnection(options.upstream);
    const answers = new AnswerCount();
    // Ids are the client's to choose; the one whose answer ends the connection is remembered as JSON.
    let lastId: string | undefined;
    const toClient = startLineSession(client, async (line) => {
      const request = parseObject(line);
      const command = String(request["execute"] ?? request["exec-oob"]);
      log.push({ command, args: isJsonObject(request["arguments"]) ? request["arguments"] : {} });
      const fault = faults.take(command);
      switch (fault?.what.kind) {
        case "drop-before":
          await answers.settled();
          endBoth(toClient, toQemu);
          return;
        case "refuse":
          toClient.send({ error: { class: fault.what.errorClass, desc: fault.what.desc }, ...idOf(request) });
          return;
        case "hang":
          await fault.released;
          break;
        case "drop-after":
          lastId = JSON.stringify(request["id"]);
          if (lastId === undefined) throw new Error("dropConnectionAfter needs commands with an id");
          break;
        case undefined:
      }
      answers.expect();
      toQemu.sendLine(line);
    });
    const toQemu = startLineSession(upstream, (line) => {
      const message = parseObject(line);
      const isAnswer = "return" in message || "error" in message;
      if (isAnswer && lastId !== undefined && JSON.stringify(message["id"]) === lastId) endBoth(toClient, toQemu);
      else toClient.sendLine(line);
      if (isAnswer) answers.arrived();
      return Promise.resolve();
    });
    client.on("close", () => toQemu.end());
    upstream.on("close", () => toClient.end());
  };

  const server = await serveSocket(options.listen, onConnection);
  let closing: Promise<void> | undefined;
  return { path: server.path, log, faults, close: () => (closing ??= server.close()) };
}

/** Commands passed on that QEMU has not answered yet. */
class AnswerCount {
  #missing = 0;
  #waiting: (() => void)[] = [];

  expect(): void {
    this.#missing += 1;
  }

  arrived(): void {
    this.#missing -= 1;
    if (this.#missing > 0) return;
    for (const resume of this.#waiting.splice(0)) resume();
  }

  async settled(): Promise<void> {
    if (this.#missing > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}

function endBoth(client: LineSession, qemu: LineSession): void {
  client.end();
  qemu.end();
}

function idOf(request: JsonObject) {
  return request["id"] === undefined ? {} : { id: request["id"] };
}
