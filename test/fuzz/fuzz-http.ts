/** The HTTP layer before a real service with an empty state: routes, schemas, encodings, and the bytes of a socket. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { pino } from "pino";
import { errorRegistry, type ErrorCode } from "../../src/base/error-registry.ts";
import { QmError } from "../../src/base/errors.ts";
import { compose } from "../../src/daemon/compose.ts";
import { buildServer } from "../../src/http/server.ts";
import type { Facade } from "../../src/service/facade.ts";
import { defineTarget, type FuzzTarget } from "./fuzz-target.ts";
import { xmlInputs } from "./xml-inputs.ts";

export type HttpInput =
  | {
      readonly kind: "request";
      readonly method: string;
      readonly url: string;
      readonly headers: Record<string, string>;
      readonly body?: string;
    }
  /** Bytes as Latin-1. */
  | { readonly kind: "raw"; readonly bytes: string };

/** What the fuzzer may have done: these read, or write to the state file alone. All others begin a QEMU or go to some other file. */
const harmless = new Set<string>([
  ...[
    "listDomains",
    "getDomain",
    "defineDomain",
    "undefineDomain",
    "domainXml",
    "domainDisks",
    "domainInfo",
    "detachDomain",
  ],
  ...[
    "listSnapshots",
    "getSnapshot",
    "currentSnapshot",
    "setCurrentSnapshot",
    "snapshotXml",
    "previewDelete",
    "renameDomain",
  ],
  ...[
    "listOperations",
    "getOperation",
    "cancelOperation",
    "setSpeed",
    "blockJob",
    "suspendDomain",
    "resumeDomain",
    "endMirrors",
  ],
]);

export async function openHttpTarget(): Promise<FuzzTarget> {
  const directory = await mkdtemp(join(tmpdir(), "qmirror-fuzz-"));
  for (const name of ["state", "run"]) await mkdir(join(directory, name));
  const logger = pino({ level: "silent" });
  const composition = await compose({ stateDir: join(directory, "state"), runtimeDir: join(directory, "run") }, logger);
  const server = buildServer({ facade: tame(composition.facade), logger, version: "0" });
  const socketPath = join(directory, "q.sock");
  await server.listen({ path: socketPath });
  return defineTarget<HttpInput>({
    inputs: httpInputs,
    async check(input) {
      if (input.kind === "raw") return await checkRaw(socketPath, Buffer.from(input.bytes, "latin1"));
      const { method, url, headers, body } = input;
      const answer = await server.inject({
        method: method as "GET",
        url,
        headers,
        ...(body === undefined ? {} : { payload: body }),
      });
      if (method === "HEAD") assert.ok(answer.statusCode < 500);
      else checkAnswer(answer.statusCode, answer.body);
    },
    async close() {
      await server.close();
      await composition.close();
      await rm(directory, { recursive: true });
    },
  });
}

function tame(facade: Facade): Facade {
  return new Proxy(facade, {
    get(target, name, receiver) {
      if (name === "watchEvents" || name === "watchOperation") return async function* () {};
      if (typeof name !== "string" || harmless.has(name)) return Reflect.get(target, name, receiver) as unknown;
      return async (domain: unknown) => {
        throw new QmError("QM_DOMAIN_NOT_RUNNING", { domain: String(domain) });
      };
    },
  });
}

function checkAnswer(status: number, body: string): void {
  if (status < 400) return;
  const { code, message } = JSON.parse(body) as { code: ErrorCode; message: unknown };
  assert.ok(Object.hasOwn(errorRegistry, code), `${status} with the code ${code}`);
  assert.equal(typeof message, "string");
  assert.equal(status, errorRegistry[code].http, code);
  assert.ok(status < 500 || code === "QM_UNSUPPORTED", body.slice(0, 500));
}

/** Whatever comes, the server answers or closes; a half request is closed from this side. */
async function checkRaw(path: string, bytes: Buffer): Promise<void> {
  const socket = connect(path);
  let said = "";
  const ended = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.on("error", () => undefined);
  socket.setEncoding("latin1").on("data", (text: string) => (said += text));
  socket.end(bytes);
  await ended;
  for (const [, status] of said.matchAll(/^HTTP\/1\.1 (\d+)/gm)) assert.ok(Number(status) < 500, said.slice(0, 500));
}

const word = fc.oneof(
  fc.constantFrom(
    "vm",
    "vda",
    "s1",
    "..",
    "../..",
    "%2e%2e%2f",
    "%00",
    "%ff",
    "%",
    "-x",
    "--help",
    "__proto__",
    "a;b",
    "%1b[2J",
  ),
  fc.string({ unit: "binary", maxLength: 12 }).map((text) => encodeURIComponent(text.toWellFormed())),
  fc.nat(6000).map((length) => "a".repeat(length)),
);
const places = [
  "domains",
  "domains/create",
  "domains/attach",
  "domains/restore",
  "events",
  "operations",
  "doctor",
  "version",
  "nope",
];
const verbs = [
  ...[
    "",
    "/start",
    "/xml",
    "/disks",
    "/snapshots",
    "/migrate-storage",
    "/clone-storage",
    "/save",
    "/rename",
    "/shutdown",
    "/info",
  ],
  ...[
    "/freeze",
    "/thaw",
    "/current-snapshot",
    "/disks/W",
    "/disks/W/copy",
    "/disks/W/job/end",
    "/disks/W/size",
    "/snapshots/W",
  ],
  ...["/snapshots/W/revert", "/snapshots/W/end-mirrors", "/snapshots/W/delete-preview", "/snapshots/W/xml"],
];
const url = fc
  .tuple(
    fc.oneof(
      fc.constantFrom(...places),
      fc
        .tuple(word, fc.constantFrom(...verbs), word)
        .map(([name, verb, inner]) => `domains/${name}${verb.replace("W", () => inner)}`),
      fc.tuple(word, fc.constantFrom("", "/cancel", "/speed", "/watch")).map(([id, verb]) => `operations/${id}${verb}`),
    ),
    fc.option(
      fc.tuple(fc.constantFrom("domain", "since", "running", "inactive", "from", "children", "x", "__proto__"), word),
      { nil: undefined },
    ),
  )
  .map(([path, query]) => `/v1/${path}${query === undefined ? "" : `?${query[0]}=${query[1]}`}`);

const names = [
  "xml",
  "name",
  "to",
  "disks",
  "mirror",
  "newName",
  "file",
  "bytesPerS",
  "sizeBytes",
  "qmp",
  "diskspecs",
  "redefine",
  "pivot",
  "modes",
];
const jsonBody = fc
  .dictionary(
    fc.constantFrom(...names, "__proto__", "constructor", "x"),
    fc.oneof(fc.jsonValue({ maxDepth: 3 }), xmlInputs),
    {
      maxKeys: 3,
      noNullPrototype: true,
    },
  )
  .map((value) => JSON.stringify(value));
const body = fc.oneof(
  { weight: 4, arbitrary: jsonBody },
  { weight: 3, arbitrary: xmlInputs.map((xml) => JSON.stringify({ xml })) },
  { weight: 1, arbitrary: fc.string({ unit: "binary" }).map((text) => text.toWellFormed()) },
  { weight: 1, arbitrary: fc.nat(5000).map((depth) => "[".repeat(depth)) },
);
const headers = fc.dictionary(
  fc.constantFrom(
    "host",
    "origin",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "accept",
    "expect",
    "upgrade",
    "range",
    "x",
  ),
  fc.oneof(
    fc.constantFrom(
      "application/json",
      "application/json; charset=utf-16",
      "text/plain",
      "gzip",
      "chunked",
      "100-continue",
      "http://evil",
      "null",
      "",
    ),
    fc.string({ maxLength: 20 }),
  ),
  { maxKeys: 2, noNullPrototype: true },
);
const method = fc.constantFrom("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "PROPFIND");

const request: fc.Arbitrary<HttpInput> = fc
  .tuple(method, url, headers, fc.option(body, { nil: undefined }), fc.boolean())
  .map(([verb, path, extra, payload, isJson]) => {
    const all = { ...(payload !== undefined && isJson ? { "content-type": "application/json" } : {}), ...extra };
    return {
      kind: "request",
      method: verb,
      url: path,
      headers: all,
      ...(payload === undefined ? {} : { body: payload }),
    };
  });
const rawRequest = fc
  .tuple(
    method,
    url,
    fc.array(
      fc.tuple(fc.constantFrom("Host", "Content-Length", "Transfer-Encoding", "X"), fc.string({ maxLength: 8 })),
      { maxLength: 3 },
    ),
    fc.string({ maxLength: 40 }),
  )
  .map(
    ([verb, path, all, rest]) =>
      `${verb} ${path} HTTP/1.1\r\n${all.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n${rest}`,
  );
const raw: fc.Arbitrary<HttpInput> = fc
  .oneof(
    rawRequest,
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
  )
  .map((bytes) => ({ kind: "raw", bytes: Buffer.from(bytes).toString("latin1") }));

const httpInputs = fc.oneof({ weight: 15, arbitrary: request }, { weight: 1, arbitrary: raw });
