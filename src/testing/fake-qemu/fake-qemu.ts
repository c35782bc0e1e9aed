/**
 * A QEMU of 2012, as far as mirrored snapshots need it: its binaries are history, and no other QEMU has these commands. Every
 * argument is checked strictly, the block devices keep account of every write of the guest, and faults happen at exact commands.
 */
import type { Socket } from "node:net";
import { isJsonObject, type JsonObject } from "../../qmp/framing.ts";
import { BlockDevices, type FakeDevice, type MirrorStyle } from "./block-devices.ts";
import { FaultPlan, type Faults } from "./faults.ts";
import { startLineSession, type LineSession } from "./line-session.ts";
import { FakeQmpError } from "./qmp-error.ts";
import { checkArguments, schema2012, type Schema2012 } from "./schema-2012.ts";
import { serveSocket } from "./socket-server.ts";

export interface FakeQemuOptions {
  /** `redhat`: RHEL 6.3, with prefixed commands. `reopen`: as proposed for QEMU 1.1. */
  readonly kind: "reopen" | "redhat";
  readonly devices: readonly FakeDevice[];
  /** Default: `job` for `redhat`, `driver` for `reopen`. */
  readonly mirrors?: MirrorStyle;
  /** Default true. */
  readonly running?: boolean;
  readonly socketPath?: string;
}

export interface LoggedCommand {
  readonly command: string;
  readonly args: JsonObject;
}

export interface FakeQemu {
  readonly socketPath: string;
  /** Every command that arrived after negotiation, refused and dropped ones included. */
  readonly log: readonly LoggedCommand[];
  readonly faults: Faults;
  readonly running: boolean;
  /** The guest writes, and the write is acknowledged. Throws while the guest is stopped or its device has no medium. */
  guestWrite(device: string, data: string): void;
  /** What was written to this image, or mirrored to it. */
  writesIn(file: string): readonly string[];
  /** The image that the device has open; undefined: none. */
  activeFile(device: string): string | undefined;
  /** Keeps a mirror job from catching up, until the function that it returns is called. */
  holdMirror(device: string): () => void;
  /** Ends a mirror job as a failed write to its target does, with its event. */
  breakMirror(device: string, reason: string): void;
  /** Opening this image fails from now on. */
  failOpen(file: string, reason: string): void;
  emit(event: string, data?: JsonObject): void;
  /** As SIGKILL: connections end, and open mirrors lose what was written to them. `close` is still needed. */
  kill(): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** Listens when it resolves. */
export async function startFakeQemu(options: FakeQemuOptions): Promise<FakeQemu> {
  const prefix = options.kind === "redhat" ? "__com.redhat_" : "";
  const schema = schema2012(prefix);
  const style = options.mirrors ?? (options.kind === "redhat" ? "job" : "driver");
  const block = new BlockDevices(options.devices, style);
  const faults = new FaultPlan();
  const log: LoggedCommand[] = [];
  const sessions = new Set<LineSession>();
  let running = options.running ?? true;

  const emit = (event: string, data?: JsonObject): void => {
    const timestamp = { seconds: Math.floor(Date.now() / 1000), microseconds: (Date.now() % 1000) * 1000 };
    for (const session of sessions) session.send({ timestamp, event, ...(data === undefined ? {} : { data }) });
  };
  const setRunning = (next: boolean): unknown => {
    if (running !== next) emit(next ? "RESUME" : "STOP");
    running = next;
    return {};
  };
  const version = versionOf(options.kind);

  const run = (command: string, args: JsonObject): unknown => {
    switch (command) {
      case "query-block":
        return block.describe();
      case "query-block-jobs":
        return block.describeJobs();
      case "query-commands":
        return Object.keys(schema.commands).map((name) => ({ name }));
      case "query-name":
        return { name: "fake" };
      case "query-uuid":
        return { UUID: "6f1ac3c1-5c3f-4c1e-9d0e-000000000000" };
      case "query-version":
        return version;
      case "query-status":
        return { running, singlestep: false, status: running ? "running" : "paused" };
      case "stop":
        return setRunning(false);
      case "cont":
        return setRunning(true);
      case "transaction":
        return done(() => block.transaction(parseActions(schema, args["actions"])));
      case "blockdev-snapshot-sync":
        return done(() => block.transaction([{ kind: "snapshot", data: args }]));
      case `${prefix}drive-mirror`:
        return done(() => block.transaction([{ kind: "mirror", data: args }]));
      case `${prefix}drive-reopen`:
        return done(() => block.reopen(args));
      case "quit":
        emit("SHUTDOWN");
        return {};
      default:
        throw unknownCommand(command);
    }
  };

  const answer = async (request: JsonObject, session: LineSession): Promise<void> => {
    const command = String(request["execute"]);
    const args = requireObject(request["arguments"]);
    log.push({ command, args });
    const fault = faults.take(command);
    if (fault?.what.kind === "drop-before") return session.end();
    if (fault?.what.kind === "hang") await fault.released;
    if (fault?.what.kind === "refuse") throw new FakeQmpError(fault.what.errorClass, fault.what.desc);
    checkArguments(requireCommand(schema, command), args);
    const result = run(command, args);
    if (fault?.what.kind === "drop-after") return session.end();
    session.send({ return: result, ...echoId(request) });
    if (command === "quit") session.end();
  };

  const onConnection = (socket: Socket): void => {
    let negotiated = false;
    const session = startLineSession(socket, async (line, own) => {
      const request = parseRequest(line);
      try {
        if (request === undefined) throw new FakeQmpError("JSONParsing", "Invalid JSON syntax");
        if (typeof request["execute"] !== "string") {
          throw new FakeQmpError("QMPBadInputObject", "Expected 'execute' in QMP input", { expected: "execute" });
        }
        if (negotiated) return await answer(request, own);
        if (request["execute"] !== "qmp_capabilities") throw unknownCommand(request["execute"]);
        checkArguments({}, requireObject(request["arguments"]));
        negotiated = true;
        sessions.add(own);
        own.send({ return: {}, ...echoId(request) });
      } catch (error) {
        if (!(error instanceof FakeQmpError)) throw error;
        own.send({
          error: { class: error.errorClass, desc: error.message, data: error.data },
          ...(request === undefined ? {} : echoId(request)),
        });
      }
    });
    socket.on("close", () => sessions.delete(session));
    session.send({ QMP: { version, capabilities: [] } });
  };

  const server = await serveSocket(options.socketPath, onConnection);
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= server.close());

  return {
    socketPath: server.path,
    log,
    faults,
    get running() {
      return running;
    },
    guestWrite: (device, data) => {
      if (!running) throw new Error("the guest is stopped: it cannot write");
      block.write(device, data);
    },
    writesIn: (file) => block.writesIn(file),
    activeFile: (device) => block.activeFile(device),
    holdMirror: (device) => {
      block.setHeld(device, true);
      return () => block.setHeld(device, false);
    },
    breakMirror: (device, reason) =>
      emit("BLOCK_JOB_COMPLETED", { ...block.breakMirror(device), error: reason } satisfies JsonObject),
    failOpen: (file, reason) => block.failOpen(file, reason),
    emit,
    kill: async () => {
      running = false;
      block.kill();
      await close();
    },
    close,
  };
}

function parseActions(schema: Schema2012, actions: unknown) {
  if (!Array.isArray(actions)) return [];
  return actions.map((action: unknown) => {
    const { type, data, ...unexpected } = requireObject(action);
    checkArguments({}, unexpected);
    checkArguments({ type: { type: Object.keys(schema.actions) } }, { type });
    if (data === undefined) throw new FakeQmpError("MissingParameter", "Parameter 'data' is missing", { name: "data" });
    const args = requireObject(data);
    checkArguments(schema.actions[String(type)] ?? {}, args);
    return { kind: type === "blockdev-snapshot-sync" ? "snapshot" : "mirror", data: args } as const;
  });
}

function requireCommand(schema: Schema2012, command: string) {
  const found = Object.hasOwn(schema.commands, command) ? schema.commands[command] : undefined;
  // Only the first command of a connection may be this one.
  if (found === undefined || command === "qmp_capabilities") throw unknownCommand(command);
  return found;
}

function unknownCommand(name: string): FakeQmpError {
  return new FakeQmpError("CommandNotFound", `The command ${name} has not been found`, { name });
}

function requireObject(value: unknown): JsonObject {
  if (value === undefined) return {};
  if (isJsonObject(value)) return value;
  throw new FakeQmpError("QMPBadInputObjectMember", "QMP input object member 'arguments' expects 'object'");
}

function parseRequest(line: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function echoId(request: JsonObject) {
  return request["id"] === undefined ? {} : { id: request["id"] };
}

function versionOf(kind: FakeQemuOptions["kind"]) {
  return kind === "redhat"
    ? { qemu: { major: 0, minor: 12, micro: 1 }, package: "(qemu-kvm-0.12.1.2)" }
    : { qemu: { major: 1, minor: 0, micro: 50 }, package: "" };
}

/** Runs a command that answers nothing but success. */
function done(carryOut: () => void): Record<string, never> {
  carryOut();
  return {};
}
