/** Servers of images over the network, on this machine: what a test starts ends with it. */
import { execFileSync } from "node:child_process";
import { createReadStream, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import type { NetworkSource } from "../../src/model/network-source.ts";

type Nbd = Extract<NetworkSource, { protocol: "nbd" }>;

export interface Served<T extends NetworkSource> {
  readonly source: T;
  close(): void;
}

/** A `qemu-nbd` of an image file; without a socket on a TCP port. It answers when this returns: `--fork` waits for that. */
export async function serveNbd(
  directory: string,
  image: string,
  options: { readonly format: "raw" | "qcow2"; readonly exportName: string; readonly socket?: string },
): Promise<Served<Nbd>> {
  const { format, exportName, socket } = options;
  const port = socket === undefined ? await findFreePort() : 0;
  const server = socket === undefined ? { name: "127.0.0.1", port } : { socket };
  const pidFile = join(directory, `nbd-${exportName.length}-${port}.pid`);
  const address = socket === undefined ? ["-b", "127.0.0.1", "-p", String(port)] : ["-k", socket];
  const shared = ["--persistent", "--shared=0", "--fork", `--pid-file=${pidFile}`];
  execFileSync("qemu-nbd", [...shared, "-x", exportName, "-f", format, ...address, image], { stdio: "ignore" });
  const pid = Number(readFileSync(pidFile, "utf8"));
  rmSync(pidFile);
  return {
    source: { protocol: "nbd", server, exportName },
    close: () => process.kill(pid, "SIGKILL"),
  };
}

async function findFreePort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Serves one file with byte ranges, as QEMU needs them. `urls` is what was asked for. */
export async function serveHttp(
  path: string,
  file: string,
  query: string,
): Promise<Served<Extract<NetworkSource, { protocol: "http" | "https" }>> & { readonly urls: ReadonlySet<string> }> {
  const urls = new Set<string>();
  const server = createServer((request, response) => {
    urls.add(request.url ?? "");
    const { size } = statSync(path);
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
    const start = Number(first ?? 0);
    const end = Math.min(last === undefined || last === "" ? size - 1 : Number(last), size - 1);
    const range = { "accept-ranges": "bytes", "content-length": end - start + 1 };
    response.writeHead(first === undefined ? 200 : 206, {
      ...range,
      ...(first === undefined ? {} : { "content-range": `bytes ${start}-${end}/${size}` }),
    });
    if (request.method === "HEAD") response.end();
    else createReadStream(path, { start, end }).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    source: { protocol: "http", host: { name: "127.0.0.1", port }, file, query },
    urls,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
