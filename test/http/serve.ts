/** A server with a fake facade on a UNIX socket in a directory of its own. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { buildServer } from "../../src/http/server.ts";
import { FakeFacade } from "./fake-facade.ts";

export async function serve() {
  const directory = await mkdtemp(join(tmpdir(), "qmirror-test-"));
  const facade = new FakeFacade();
  const server = buildServer({ facade, logger: pino({ level: "silent" }), version: "1.2.3" });
  const socketPath = join(directory, "qmirror.sock");
  await server.listen({ path: socketPath });
  return {
    directory,
    facade,
    server,
    socketPath,
    async [Symbol.asyncDispose]() {
      await server.close();
      await rm(directory, { recursive: true });
    },
  };
}
