import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { once } from "node:events";
import { test } from "node:test";
import Fastify from "fastify";
import type { ErrorBody } from "../../src/api-types/index.ts";
import { bodyLimitBytes } from "../../src/http/errors.ts";
import { maxWaitingBytes, OpenStreams } from "../../src/http/ndjson.ts";
import { registerRoutes } from "../../src/http/routes/index.ts";
import { FakeFacade } from "./fake-facade.ts";
import { serve } from "./serve.ts";

test("docs/reference/http.md lists exactly the routes that there are", () => {
  const server = Fastify({ exposeHeadRoutes: false });
  const routes: string[] = [];
  server.addHook("onRoute", ({ method, url }) => void routes.push(`${String(method)} ${url}`));
  registerRoutes(server, { facade: new FakeFacade(), streams: new OpenStreams(), version: "0" });
  const docs = readFileSync(new URL("../../docs/reference/http.md", import.meta.url), "utf8");
  const documented = [...docs.matchAll(/^\| `(GET|POST|PUT|DELETE) (\S+)`/gm)].map(
    ([, method, url]) => `${method} ${url}`,
  );
  assert.ok(routes.length > 20);
  assert.deepEqual(documented.toSorted(), routes.toSorted());
});

test("an unknown property is refused by name, not dropped", async () => {
  await using s = await serve();
  s.facade.addDomain("vm");
  const url = "/v1/domains/vm/migrate-storage";
  const answer = await s.server.inject({ method: "POST", url, payload: { to: "/nas", verfy: true } });
  assert.equal(answer.statusCode, 400);
  const body = answer.json<ErrorBody>();
  assert.equal(body.code, "QM_INVALID");
  assert.match(body.message, /unknown property 'verfy'/);
  assert.deepEqual(s.facade.requests, []);
});

test("wrong types and missing properties are refused, nothing is coerced", async () => {
  await using s = await serve();
  const post = (url: string, payload: object) => s.server.inject({ method: "POST", url, payload });
  const migrate = "/v1/domains/vm/migrate-storage";
  assert.match((await post(migrate, {})).json<ErrorBody>().message, /lacks the property 'to'/);
  assert.match(
    (await post(migrate, { to: "/n", verify: "yes" })).json<ErrorBody>().message,
    /body\/verify must be boolean/,
  );
  assert.match(
    (await post(migrate, { to: "/n", bytesPerS: "9" })).json<ErrorBody>().message,
    /bytesPerS must be integer/,
  );
  const end = await post("/v1/domains/vm/snapshots/s/end-mirrors", { mirror: "both" });
  assert.match(end.json<ErrorBody>().message, /must be one of \["pivot","abort"\]/);
  const both = await post("/v1/domains/vm/snapshots", { xml: "<domainsnapshot/>", name: "s" });
  assert.match(both.json<ErrorBody>().message, /'xml' and 'name' are mutually exclusive/);
  const query = await s.server.inject({ method: "GET", url: "/v1/events?since=-1" });
  assert.equal(query.statusCode, 400);
});

test("options that exclude or need each other are refused with both names, before the facade is asked", async () => {
  await using s = await serve();
  s.facade.addDomain("vm");
  await s.facade.createSnapshot("vm", { name: "s" });
  s.facade.requests.length = 0;
  const snapshots = "/v1/domains/vm/snapshots";
  const xml = "<domainsnapshot/>";
  for (const [method, url, payload, reason] of [
    ["POST", snapshots, { xml, memspec: "/m" }, "'xml' and 'memspec' are mutually exclusive"],
    ["POST", snapshots, { redefine: true }, "'redefine' requires 'xml'"],
    ["POST", snapshots, { xml, redefine: true, halt: true }, "'redefine' and 'halt' are mutually exclusive"],
    ["POST", snapshots, { current: true }, "'current' requires 'redefine'"],
    ["POST", snapshots, { quiesce: true }, "'quiesce' requires 'diskOnly'"],
    ["POST", snapshots, { live: true }, "'live' requires 'memspec' or 'xml'"],
    ["POST", snapshots, { diskOnly: true, memspec: "/m" }, "'diskOnly' and 'memspec' are mutually exclusive"],
    ["POST", `${snapshots}/s/revert`, { running: true, paused: true }, "'running' and 'paused' are mutually exclusive"],
    ["POST", "/v1/domains/vm/save", { file: "/f", running: true, paused: true }, "'running' and 'paused'"],
    ["POST", "/v1/domains/restore", { file: "/f", running: true, paused: true }, "'running' and 'paused'"],
    ["POST", "/v1/domains/vm/disks/vda/commit", { base: "/b", shallow: true }, "'base' and 'shallow'"],
    ["DELETE", `${snapshots}/s?children=1&childrenOnly=1`, undefined, "'children' and 'childrenOnly'"],
    ["GET", `${snapshots}/s/delete-preview?children=1&childrenOnly=1`, undefined, "'children' and 'childrenOnly'"],
    ["GET", `${snapshots}?descendants=1`, undefined, "'descendants' requires 'from'"],
    ["GET", `${snapshots}?roots=1&from=s`, undefined, "'roots' and 'from' are mutually exclusive"],
  ] as const) {
    const answer = await s.server.inject({ method, url, ...(payload === undefined ? {} : { payload }) });
    assert.equal(answer.statusCode, 400, url);
    assert.ok(answer.json<ErrorBody>().message.includes(reason), answer.body);
  }
  assert.deepEqual(s.facade.requests, []);
});

test("a flag that is 0 or false is as good as absent, and an optional body may be left away", async () => {
  await using s = await serve();
  s.facade.addDomain("vm");
  await s.facade.createSnapshot("vm", { name: "1" });
  const inject = (method: "GET" | "POST" | "DELETE", url: string, payload?: object) =>
    s.server.inject({ method, url: `/v1/domains/vm/${url}`, ...(payload === undefined ? {} : { payload }) });
  // A name that looks like a flag stays a name.
  assert.deepEqual((await inject("GET", "snapshots?from=1&roots=0")).json(), []);
  const both = await inject("POST", "snapshots", { name: "2", current: false, quiesce: false });
  assert.equal(both.statusCode, 201);
  assert.equal((await inject("POST", "snapshots/2/revert")).statusCode, 200);
  assert.equal((await inject("POST", "disks/vda/commit")).statusCode, 202);
  assert.equal((await inject("POST", "freeze")).json<{ filesystems: number }>().filesystems, 2);
  assert.equal((await inject("GET", "disks/sda/job")).statusCode, 204);
  assert.equal((await inject("DELETE", "snapshots/1?children=0&childrenOnly=1")).statusCode, 200);
  assert.equal((await inject("POST", "shutdown")).statusCode, 204);
});

test("errors have the registry's status and say what to do next", async () => {
  await using s = await serve();
  const answer = await s.server.inject({ method: "GET", url: "/v1/domains/none" });
  assert.equal(answer.statusCode, 404);
  const expected = { code: "QM_NO_DOMAIN", fields: { domain: "none" } };
  assert.partialDeepStrictEqual(answer.json(), expected);
  assert.match(answer.json<ErrorBody>().next ?? "", /qmirror list/);
  for (const [url, status, code] of [
    ["/v1/none", 404, "QM_NO_ROUTE"],
    ["/v1/domains/%zz", 400, "QM_INVALID"],
    ["/v1/operations/x/watch", 404, "QM_NO_OPERATION"],
  ] as const) {
    const other = await s.server.inject({ method: "GET", url });
    assert.deepEqual([other.statusCode, other.json<ErrorBody>().code], [status, code], url);
  }
  const headers = { "content-type": "application/json" };
  const bad = await s.server.inject({ method: "POST", url: "/v1/domains", headers, payload: "{" });
  assert.deepEqual([bad.statusCode, bad.json<ErrorBody>().code], [400, "QM_INVALID"]);
  const payload = { xml: "x".repeat(bodyLimitBytes) };
  const large = await s.server.inject({ method: "POST", url: "/v1/domains", payload });
  assert.deepEqual([large.statusCode, large.json<ErrorBody>().code], [413, "QM_BODY_TOO_LARGE"]);
});

test("an unexpected error is QM_INTERNAL", async () => {
  await using s = await serve();
  s.facade.doctor = () => Promise.reject(new TypeError("oops"));
  const answer = await s.server.inject({ method: "GET", url: "/v1/doctor" });
  assert.deepEqual([answer.statusCode, answer.json<ErrorBody>().code], [500, "QM_INTERNAL"]);
});

test("a client that does not read its events is cut off at the bound, with the reason as its last line", async () => {
  await using s = await serve();
  const socket = connect(s.socketPath);
  socket.write("GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n");
  await once(socket, "readable");
  const filler = "x".repeat(64 * 1024);
  const [signal] = s.facade.watches;
  assert.ok(signal);
  const cut = once(signal, "abort");
  for (let sent = 0; sent < 4 * maxWaitingBytes; sent += filler.length) s.facade.emit("vm", { filler });
  await cut;
  let text = "";
  socket.setEncoding("utf8");
  for await (const chunk of socket) {
    text += String(chunk);
    if (text.endsWith("0\r\n\r\n")) break;
  }
  assert.match(text, /"streamError":\{"code":"QM_STREAM_SLOW"/);
  assert.ok(text.length < 3 * maxWaitingBytes);
});

test("a slow watcher of an operation misses views in between and still gets the last one", async () => {
  await using s = await serve();
  s.facade.addDomain("vm");
  const { id } = await s.facade.migrateStorage("vm", { to: "/nas" });
  const socket = connect(s.socketPath);
  socket.write(`GET /v1/operations/${id}/watch HTTP/1.1\r\nhost: x\r\n\r\n`);
  await once(socket, "readable");
  const rounds = 400;
  for (let round = 0; round < rounds; round += 1) {
    s.facade.changeOperation(id, { step: `${round} ${"x".repeat(8 * 1024)}` });
    await new Promise(setImmediate);
  }
  s.facade.changeOperation(id, { state: "succeeded", step: "done" });
  let text = "";
  socket.setEncoding("utf8");
  for await (const chunk of socket) {
    text += String(chunk);
    if (text.endsWith("0\r\n\r\n")) break;
  }
  const lines = text.split("\n").filter((line) => line.startsWith("{"));
  assert.ok(lines.length < rounds, `${lines.length} lines`);
  assert.match(lines.at(-1) ?? "", /"state":"succeeded"/);
});
