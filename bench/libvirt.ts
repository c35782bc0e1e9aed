/**
 * libvirt through one open connection. It has no mirrored snapshots; the work that compares: a snapshot of all disks, a shallow
 * `blockCopy` of each until all are ready, then a pivot of one after the other.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import type { Contender, Guest } from "./contender.ts";

const run = promisify(execFile);
const driver = fileURLToPath(new URL("libvirt-driver.py", import.meta.url));
/** The distribution's own: another one on the PATH does not have the distribution's bindings. */
const python = "/usr/bin/python3";
const packages = ["libvirt-daemon-system", "libvirt-clients", "python3-libvirt"];

export interface Libvirt extends Contender {
  readonly version: string;
}

/** Installs libvirt where it is missing (root only) and starts its daemons where they do not run; `directory` gets their pids. */
export async function openLibvirt(directory: string): Promise<Libvirt> {
  await install();
  await using undo = new AsyncDisposableStack();
  for (const daemon of ["virtlogd", "libvirtd"]) {
    const pid = await startDaemon(daemon, join(directory, `${daemon}.pid`));
    if (pid !== undefined) undo.defer(() => stopByPid(pid));
  }
  const connection = await openConnection();
  undo.defer(() => connection.close());
  const started = undo.move();
  const running = new Set<string>();
  const destroy = async (name: string): Promise<void> => {
    running.delete(name);
    await connection.ask({ verb: "destroy", name });
  };
  return {
    name: "libvirt",
    version: connection.version,
    async boot(guest) {
      await connection.ask({ verb: "boot", xml: asRoot(guest.xml) });
      running.add(guest.name);
    },
    create: ({ name, disks }) => connection.ask({ verb: "create", name, disks }),
    pivot: ({ name, disks }) => connection.ask({ verb: "pivot", name, disks }),
    destroy: (guest) => destroy(guest.name),
    async close() {
      try {
        for (const name of running) await destroy(name);
      } finally {
        await started.disposeAsync();
      }
    },
  };
}

/** The images and the guest's kernel are ours: libvirt must not give them to another user. */
function asRoot(xml: Guest["xml"]): string {
  const label = "<seclabel type='static' model='dac' relabel='no'><label>+0:+0</label></seclabel>";
  return xml.replace("</devices>", `</devices>${label}`);
}

async function install(): Promise<void> {
  const missing = await run(python, ["-c", "import libvirt"]).then(
    () =>
      stat("/usr/sbin/libvirtd").then(
        () => false,
        () => true,
      ),
    () => true,
  );
  if (!missing) return;
  if (process.getuid?.() !== 0) throw new Error(`libvirt is not installed: install ${packages.join(", ")}`);
  process.stderr.write(`installing ${packages.join(", ")}\n`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  await run("apt-get", ["update"], { env });
  await run("apt-get", ["install", "--yes", "--no-install-recommends", ...packages], { env });
}

/** Returns the pid of a daemon that was started here; absent: one ran already. */
async function startDaemon(name: string, pidFile: string): Promise<number | undefined> {
  if (await isRunning(`/run/${name}.pid`, name)) return undefined;
  // Returns once the daemon serves its socket
  await run(`/usr/sbin/${name}`, ["--daemon", "--pid-file", pidFile]);
  return Number(await readFile(pidFile, "utf8"));
}

async function isRunning(pidFile: string, name: string): Promise<boolean> {
  try {
    const pid = Number(await readFile(pidFile, "utf8"));
    return (await readFile(`/proc/${pid}/comm`, "utf8")).trim() === name;
  } catch {
    return false;
  }
}

/** Waits for its end. Not a child of ours: nothing tells of it but its absence. */
async function stopByPid(pid: number): Promise<void> {
  process.kill(pid, "SIGTERM");
  await run("tail", ["--pid", String(pid), "-s", "0.1", "-f", "/dev/null"], { timeout: 10_000 });
}

async function openConnection() {
  const child = spawn(python, [driver], { detached: true, stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { done, value } = await lines.next();
    if (done === true) throw new Error("libvirt's driver ended");
    return JSON.parse(value) as { version?: string; error?: string };
  };
  const { version = "" } = await next();
  let last: Promise<unknown> = Promise.resolve();
  const askOnce = async (request: object): Promise<void> => {
    child.stdin.write(JSON.stringify(request) + "\n");
    const { error } = await next();
    if (error !== undefined) throw new Error(`libvirt: ${error}`);
  };
  return {
    version,
    /** One after the other: answers come in the order of requests. */
    ask(request: object): Promise<void> {
      const answer = last.then(() => askOnce(request));
      last = answer.catch(() => undefined);
      return answer;
    },
    async close() {
      const ended = once(child, "exit");
      child.stdin.end();
      await ended;
    },
  };
}
