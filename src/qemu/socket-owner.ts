/** Which process listens on a UNIX socket, from /proc: Node tells no peer credentials. */
import { readFile, readdir, readlink } from "node:fs/promises";

/** The pid; undefined when nobody listens there, or its owner may not be looked at. */
export async function findSocketOwner(path: string): Promise<number | undefined> {
  const lines = (await readFile("/proc/net/unix", "utf8")).split("\n");
  const links = new Set(
    lines
      .map((line) => line.trim().split(/\s+/))
      .filter((columns) => columns.slice(7).join(" ") === path)
      .map((columns) => `socket:[${columns[6] ?? ""}]`),
  );
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  for (const pid of links.size === 0 ? [] : pids) {
    if (await holdsAny(pid, links)) return Number(pid);
  }
  return undefined;
}

async function holdsAny(pid: string, links: ReadonlySet<string>): Promise<boolean> {
  const directory = `/proc/${pid}/fd`;
  // A process may end, or belong to somebody else, at any moment of this.
  const descriptors = await readdir(directory).catch(() => []);
  const targets = await Promise.all(descriptors.map((name) => readlink(`${directory}/${name}`).catch(() => "")));
  return targets.some((target) => links.has(target));
}
