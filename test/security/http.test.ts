/** The daemon's socket as a hostile client uses it: requests that are too large, too slow, elsewhere, half, or from a web page. */
import assert from "node:assert/strict";
import { statSync, writeFileSync, chmodSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { DatabaseSync } from "node:sqlite";
import { pino } from "pino";
import type { ErrorBody } from "../../src/api-types/index.ts";
import { lockStateDir } from "../../src/daemon/lock.ts";
import { bodyLimitBytes } from "../../src/http/errors.ts";
import { buildServer, requestTimeoutMs } from "../../src/http/server.ts";
import { FakeFacade } from "../http/fake-facade.ts";
import { serve } from "../http/serve.ts";
import { scratchDirectory } from "../image/scratch.ts";

async function exchange(path: string, bytes: string): Promise<string> {
  const socket = connect(path);
  let said = "";
  socket.on("error", () => undefined).on("data", (chunk) => (said += String(chunk)));
  socket.write(bytes);
  // Not `once`: it would reject when the server closes while we still write.
  await new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return said;
}

test("headers beyond 16 KiB, a body beyond the limit, and lengths that contradict each other are refused and the connection is closed", async () => {
  await using s = await serve();
  const head = "POST /v1/domains HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
  assert.match(await exchange(s.socketPath, `${head}X: ${"x".repeat(20_000)}\r\n\r\n`), /^HTTP\/1\.1 431 /);
  assert.match(
    await exchange(s.socketPath, `${head}Connection: close\r\nContent-Length: ${bodyLimitBytes + 1}\r\n\r\n`),
    /^HTTP\/1\.1 413 .*QM_BODY_TOO_LARGE/s,
  );
  assert.match(
    await exchange(s.socketPath, `${head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`),
    /^HTTP\/1\.1 400 /,
  );
  const chunk = `${(1024 * 1024).toString(16)}\r\n${"x".repeat(1024 * 1024)}\r\n`;
  assert.match(
    await exchange(s.socketPath, `${head}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(6)}`),
    /^HTTP\/1\.1 413 /,
  );
});

test("a request that never ends is given up: its head and its body have a deadline", async (t) => {
  const server = buildServer({ facade: new FakeFacade(), logger: pino({ level: "silent" }), version: "0" });
  t.after(() => server.close());
  assert.equal(server.server.requestTimeout, requestTimeoutMs);
  assert.ok(server.server.headersTimeout > 0 && server.server.headersTimeout <= requestTimeoutMs);
  // The same with a deadline that a test can wait for.
  server.server.requestTimeout = server.server.headersTimeout = 200;
  await server.listen({ path: join(scratchDirectory(t), "q.sock") });
  const path = String(server.server.address());
  const startedMs = performance.now();
  const head = "POST /v1/domains HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n";
  const [slowHead, slowBody] = await Promise.all([exchange(path, head), exchange(path, `${head}\r\n{"xml":`)]);
  for (const said of [slowHead, slowBody]) assert.match(said, /^HTTP\/1\.1 408 |^$/);
  assert.ok(performance.now() - startedMs < 30_000);
});

test("on the UNIX socket every Host is the same, and what only a web page sends opens nothing", async () => {
  await using s = await serve();
  s.facade.addDomain("vm");
  const ask = (headers: Record<string, string>, method = "GET") =>
    new Promise<{ status: number | undefined; cors: unknown }>((resolve, reject) => {
      const sent = request({ socketPath: s.socketPath, path: "/v1/domains", method, headers }, (answer) => {
        answer.resume();
        resolve({ status: answer.statusCode, cors: answer.headers["access-control-allow-origin"] });
      });
      sent.on("error", reject).end();
    });
  assert.deepEqual(await ask({ host: "evil.example", origin: "http://evil.example" }), {
    status: 200,
    cors: undefined,
  });
  const preflight = await ask({ origin: "http://evil.example", "access-control-request-method": "POST" }, "OPTIONS");
  assert.deepEqual(preflight, { status: 404, cors: undefined });
  // A form can send these types without asking first.
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
    const answer = await s.server.inject({
      method: "POST",
      url: "/v1/domains",
      headers: { "content-type": type },
      payload: '{"xml":"<domain/>"}',
    });
    assert.ok(answer.statusCode >= 400 && answer.statusCode < 500, type);
  }
});

test("a path in a parameter is a name and nothing else", async () => {
  await using s = await serve();
  for (const name of ["..%2f..%2fetc%2fpasswd", "%2e%2e", "%00", "%2Fetc", "....//", "%c0%ae%c0%ae%2f"]) {
    for (const url of [
      `/v1/domains/${name}`,
      `/v1/domains/${name}/xml`,
      `/v1/operations/${name}`,
      `/${name}`,
      `/v1/../${name}`,
    ]) {
      const answer = await s.server.inject({ method: "GET", url });
      assert.ok([400, 404].includes(answer.statusCode), `${url}: ${answer.statusCode}`);
      assert.match(answer.json<ErrorBody>().code, /^QM_(INVALID|NO_DOMAIN|NO_OPERATION|NO_ROUTE)$/);
    }
  }
});

test("the lock is the owner's alone, one that was not is mended, and opening it twice frees nothing", (t) => {
  const directory = scratchDirectory(t);
  const path = join(directory, "lock.db");
  writeFileSync(path, "");
  chmodSync(path, 0o644);
  const lock = lockStateDir(directory);
  t.after(() => lock.release());
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.throws(() => lockStateDir(directory), { code: "QM_DAEMON_RUNNING" });
  const other = new DatabaseSync(path, { timeout: 0 });
  t.after(() => other.close());
  assert.throws(() => other.exec("BEGIN EXCLUSIVE"), /locked/);
});

test("neither a body nor a password in it is in the log, whatever becomes of the request", async (t) => {
  const lines: string[] = [];
  const logger = pino({ level: "trace" }, { write: (line: string) => void lines.push(line) });
  const facade = new FakeFacade();
  facade.defineDomain = async () => {
    throw new Error("a defect");
  };
  const server = buildServer({ facade, logger, version: "0" });
  t.after(() => server.close());
  const send = (payload: string) =>
    server.inject({
      method: "POST",
      url: "/v1/domains",
      headers: { "content-type": "application/json", authorization: "Bearer hunter2" },
      payload,
    });
  for (const payload of ['{"xml":"<graphics passwd=\'hunter2\'/>"}', '{"xml":"hunter2', '{"hunter":"hunter2"}']) {
    const answer = await send(payload);
    assert.ok(answer.statusCode >= 400);
    assert.doesNotMatch(answer.body, /hunter2/);
  }
  assert.ok(lines.length > 0);
  assert.doesNotMatch(lines.join(""), /hunter2/);
});
