/** The four kinds of message that a monitor sends. */
import { QmError } from "../base/errors.ts";
import type { QmpEvent } from "./client-types.ts";
import { excerpt, isJsonObject, parseObject, protocolError, type JsonObject } from "./framing.ts";

export interface QemuVersion {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
}

export type MonitorMessage =
  | { readonly kind: "greeting"; readonly version: QemuVersion; readonly capabilities: readonly string[] }
  | { readonly kind: "event"; readonly event: QmpEvent }
  | { readonly kind: "return"; readonly id: unknown; readonly value: unknown }
  | { readonly kind: "error"; readonly id: unknown; readonly errorClass: string; readonly reason: string };

/** What a line says. Throws `QM_QMP_PROTOCOL` when it is no message of these kinds. */
export function readMessage(line: string): MonitorMessage {
  const message = parseObject(line);
  const read = readGreeting(message) ?? readEvent(message) ?? readAnswer(message);
  if (read === undefined) throw protocolError(`${excerpt(line)} is no greeting, event or answer`);
  return read;
}

/** The error of a command that was refused, with the refuser's words. */
export function commandError(command: string, errorClass: string, reason: string): QmError<"QM_QMP_COMMAND"> {
  return new QmError("QM_QMP_COMMAND", { command, reason, class: errorClass });
}

function readGreeting({ QMP: greeting }: JsonObject): MonitorMessage | undefined {
  if (!isJsonObject(greeting) || !isJsonObject(greeting["version"])) return undefined;
  const version = greeting["version"]["qemu"];
  const capabilities = greeting["capabilities"];
  if (!isJsonObject(version) || !Array.isArray(capabilities)) return undefined;
  const { major, minor, micro } = version;
  if (typeof major !== "number" || typeof minor !== "number" || typeof micro !== "number") return undefined;
  const names = capabilities.filter((name) => typeof name === "string");
  return { kind: "greeting", version: { major, minor, micro }, capabilities: names };
}

function readEvent({ event, data, timestamp }: JsonObject): MonitorMessage | undefined {
  if (typeof event !== "string" || !isJsonObject(timestamp)) return undefined;
  const { seconds, microseconds } = timestamp;
  if (typeof seconds !== "number" || typeof microseconds !== "number") return undefined;
  // Readers of an event look into its data: they need not expect that there are none.
  if (data !== undefined && !isJsonObject(data)) return undefined;
  return { kind: "event", event: { event, data: data ?? {}, timestampMs: seconds * 1000 + microseconds / 1000 } };
}

function readAnswer(message: JsonObject): MonitorMessage | undefined {
  const { id, error } = message;
  if ("return" in message) return { kind: "return", id, value: message["return"] };
  if (!isJsonObject(error)) return undefined;
  const { class: errorClass, desc } = error;
  if (typeof errorClass !== "string" || typeof desc !== "string") return undefined;
  return { kind: "error", id, errorClass, reason: desc };
}
