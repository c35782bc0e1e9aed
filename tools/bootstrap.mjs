/**
 * Gets what the project needs to run, then runs a command with it:
 *
 *     node tools/bootstrap.mjs [--packages] [-- COMMAND ARGUMENT...]
 *
 * 1. `node_modules` as in package-lock.json. 2. A current Node in `node_modules/.bin`, first on the command's PATH. With `--packages`
 * also: 3. QEMU and what the tests need beside it as Debian packages, installed when root, otherwise named. 4. The test guest's kernel
 * and its guest agent, unpacked in `.cache`, never installed. What is there already is left alone, so that a second start costs
 * nothing.
 *
 * It must run on Node 20 and before any package is installed: plain JavaScript, no dependency.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  accessSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const cache = join(root, ".cache");
const neededNodeMajor = 24;
const kernelDirectory = join(cache, "guest-kernel");
const kernelMetaPackage = "linux-image-cloud-amd64";
const agentDirectory = join(cache, "guest-agent");
const libvirtSchemas = "/usr/share/libvirt/schemas";
const libvirtPythonModule = "/usr/lib/python3/dist-packages/libvirt.py";
const isRoot = process.getuid?.() === 0;

/** A failure that the reader can act on: printed without a stack. */
class Stop extends Error {}

/** One need: `met` is cheap and asked at every start, `meet` runs only when it is false. */
const needs = {
  modules: { met: areModulesCurrent, meet: installModules },
  packages: { met: () => missingPackages().length === 0, meet: installPackages },
  kernel: { met: isKernelThere, meet: fetchKernel },
  agent: { met: () => existsSync(join(agentDirectory, "qemu-ga")), meet: fetchAgent },
};

try {
  const { withPackages, command } = readArguments(process.argv.slice(2));
  const wanted = withPackages ? Object.values(needs) : [needs.modules];
  if (!wanted.every((need) => need.met())) {
    await withLock(() => {
      // Asked again: another start may have done it while this one waited
      for (const need of wanted) if (!need.met()) need.meet();
    });
  }
  if (command.length > 0) runCommand(command);
} catch (error) {
  if (!(error instanceof Stop)) throw error;
  say(error.message);
  process.exitCode = 1;
}

function readArguments(words) {
  const end = words.indexOf("--");
  const options = end === -1 ? words : words.slice(0, end);
  const unknown = options.find((option) => option !== "--packages");
  if (unknown !== undefined)
    throw new Stop(`unknown option ${unknown}; usage: bootstrap.mjs [--packages] [-- COMMAND…]`);
  return { withPackages: options.includes("--packages"), command: end === -1 ? [] : words.slice(end + 1) };
}

// --- 1 and 2: node_modules, and Node itself

function stampPath() {
  return join(root, "node_modules", ".qmirror-stamp");
}

function hashLockFile() {
  return createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
}

function areModulesCurrent() {
  return existsSync(join(root, "node_modules/.bin/node")) && readIfThere(stampPath()) === hashLockFile();
}

function installModules() {
  const hash = hashLockFile();
  if (readIfThere(stampPath()) !== hash) {
    say("installing npm packages");
    // Takes the lock file's versions and leaves that file alone. `npm ci` refuses a lock file that was made where some other
    // platform's optional package could not be had.
    run("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: root });
  }
  if (!hasCurrentNode()) {
    // npm does not run install scripts everywhere; this one puts the binary in place
    say(`installing Node ${neededNodeMajor} or later for this project`);
    run(process.execPath, ["installArchSpecificPackage"], { cwd: join(root, "node_modules/node") });
    if (!hasCurrentNode()) throw new Stop(`node_modules/.bin/node is not a working Node ${neededNodeMajor} or later`);
  }
  writeFileSync(stampPath(), hash);
}

function hasCurrentNode() {
  const { stdout } = spawnSync(join(root, "node_modules/.bin/node"), ["--version"], { encoding: "utf8" });
  return Number(/^v(\d+)\./.exec(stdout ?? "")?.[1]) >= neededNodeMajor;
}

// --- 3: Debian packages

function missingPackages() {
  return [
    findProgram("qemu-system-x86_64") === undefined ? "qemu-system-x86" : undefined,
    findProgram("qemu-img") === undefined ? "qemu-utils" : undefined,
    isStatic(findProgram("busybox")) ? undefined : "busybox-static",
    // The file systems of the guest that has an agent
    findProgram("mkfs.ext4") === undefined ? "e2fsprogs" : undefined,
    // Ends file systems as a power failure does
    findProgram("xfs_io") === undefined ? "xfsprogs" : undefined,
    // Disks over HTTP and RBD
    hasQemuDriver("block-curl.so") ? undefined : "qemu-block-extra",
    // Only for its schemas, which some tests check our XML against
    existsSync(libvirtSchemas) ? undefined : "libvirt0",
    // The clients that some tests let talk to the daemon
    findProgram("virsh") === undefined ? "libvirt-clients" : undefined,
    existsSync(libvirtPythonModule) ? undefined : "python3-libvirt",
  ].filter((name) => name !== undefined);
}

function installPackages() {
  const packages = missingPackages();
  const install = ["apt-get", "install", "-y", "--no-install-recommends", ...packages];
  if (findProgram("apt-get") === undefined) {
    throw new Stop(`this needs what is in the Debian packages ${packages.join(", ")}`);
  }
  if (!isRoot) throw new Stop(`please run: sudo apt-get update && sudo ${install.join(" ")}`);
  say(`installing ${packages.join(", ")}`);
  const options = { env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } };
  run("apt-get", ["update", "-qq"], options);
  run("apt-get", ["-qq", ...install.slice(1)], options);
  const left = missingPackages();
  if (left.length > 0) throw new Stop(`installed, but what they hold is still not found: ${left.join(", ")}`);
}

/** QEMU's drivers are with the libraries, below a name for the kind of machine. */
function hasQemuDriver(file) {
  if (!existsSync("/usr/lib")) return false;
  return readdirSync("/usr/lib").some((directory) => existsSync(join("/usr/lib", directory, "qemu", file)));
}

function findProgram(name) {
  // Not every user's PATH has the administrator's directories
  const directories = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return directories.map((directory) => join(directory, name)).find(isExecutable);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** A dynamic program asks for a loader with a PT_INTERP (3) entry in its program headers. */
function isStatic(path) {
  if (path === undefined) return false;
  const head = Buffer.alloc(4096);
  const file = openSync(path, "r");
  try {
    readSync(file, head, 0, head.length, 0);
  } finally {
    closeSync(file);
  }
  const [start, size, count] = [Number(head.readBigUInt64LE(32)), head.readUInt16LE(54), head.readUInt16LE(56)];
  for (let at = start; at < Math.min(start + size * count, head.length); at += size) {
    if (head.readUInt32LE(at) === 3) return false;
  }
  return true;
}

// --- 4: the guest's kernel and its agent

function guestModules() {
  const lists = JSON.parse(readFileSync(join(root, "src/testing/witness/guest-modules.json"), "utf8"));
  return Object.values(lists).flat();
}

function isKernelThere() {
  return ["vmlinuz", ...guestModules().map((name) => `${name}.ko`)].every((file) =>
    existsSync(join(kernelDirectory, file)),
  );
}

function fetchKernel() {
  requireTools("the guest kernel", ["apt-get", "apt-cache", "dpkg-deb"]);
  const name = resolveKernelPackage();
  say(`fetching the test guest's kernel (${name})`);
  fetchPackage(name, kernelDirectory, pickKernelFiles);
}

function requireTools(what, tools) {
  const missing = tools.find((tool) => findProgram(tool) === undefined);
  if (missing !== undefined) throw new Stop(`${what} is a Debian package: ${missing} is needed to get it`);
}

/** Unpacks a package, lets `pick` make a directory of what is needed, and puts that in the place of `directory`. */
function fetchPackage(name, directory, pick) {
  const work = `${directory}.${process.pid}`;
  mkdirSync(work, { recursive: true });
  try {
    downloadPackage(name, work);
    const archive = readdirSync(work).find((file) => file.endsWith(".deb"));
    run("dpkg-deb", ["-x", archive, "unpacked"], { cwd: work });
    pick(join(work, "unpacked"), join(work, "chosen"));
    rmSync(directory, { recursive: true, force: true });
    renameSync(join(work, "chosen"), directory);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function resolveKernelPackage() {
  const name = askKernelPackage();
  if (name !== undefined) return name;
  updatePackageLists();
  const again = askKernelPackage();
  if (again === undefined) throw new Stop(`apt knows no package ${kernelMetaPackage}: the test guest needs its kernel`);
  return again;
}

function askKernelPackage() {
  const { stdout } = spawnSync("apt-cache", ["depends", kernelMetaPackage], { encoding: "utf8" });
  return /^\s*Depends: (linux-image-\S+)$/m.exec(stdout ?? "")?.[1];
}

function downloadPackage(name, cwd) {
  // As root apt downloads as another user, who cannot write here and would only cause a warning
  const download = ["-qq", "-o", `APT::Sandbox::User=${isRoot ? "root" : ""}`, "download", name];
  if (spawnSync("apt-get", download, { cwd, stdio: ["ignore", 2, 2] }).status === 0) return;
  updatePackageLists();
  run("apt-get", download, { cwd });
}

function updatePackageLists() {
  if (!isRoot) throw new Stop("the package lists are old or empty; please run: sudo apt-get update");
  run("apt-get", ["update", "-qq"]);
}

function pickKernelFiles(from, to) {
  mkdirSync(to);
  const boot = join(from, "boot");
  copyFileSync(
    join(
      boot,
      readdirSync(boot).find((file) => file.startsWith("vmlinuz-")),
    ),
    join(to, "vmlinuz"),
  );
  const files = readdirSync(from, { recursive: true });
  for (const name of guestModules()) {
    const file = files.find((path) => path.endsWith(`/${name}.ko`) || path.endsWith(`/${name}.ko.xz`));
    if (file === undefined) throw new Stop(`the kernel package has no module ${name}`);
    const target = join(to, `${name}.ko`);
    copyFileSync(join(from, file), file.endsWith(".xz") ? `${target}.xz` : target);
    if (file.endsWith(".xz")) run("busybox", ["unxz", `${target}.xz`]);
  }
}

function fetchAgent() {
  requireTools("the guest agent", ["apt-get", "dpkg-deb", "ldd"]);
  say("fetching the test guest's agent (qemu-guest-agent)");
  fetchPackage("qemu-guest-agent", agentDirectory, pickAgentFiles);
}

/** The program, and this machine's loader and libraries for it: QEMU's own package has installed them all. */
function pickAgentFiles(from, to) {
  mkdirSync(to);
  const program = join(from, "usr/sbin/qemu-ga");
  const { stdout } = spawnSync("ldd", [program], { encoding: "utf8" });
  const lines = (stdout ?? "").split("\n").map((line) => line.trim());
  const missing = lines.filter((line) => line.endsWith("not found"));
  if (missing.length > 0) throw new Stop(`the guest agent needs libraries: ${missing.join(", ")}`);
  // "libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x…)", and the loader without an arrow
  const libraries = lines
    .map((line) => /^(?:\S+ => )?(\/\S+) \(0x/.exec(line)?.[1])
    .filter((path) => path !== undefined);
  for (const path of [program, ...libraries]) copyFileSync(path, join(to, basename(path)));
}

// --- Running things

/** Runs a program to its end with its output on stderr. Throws Stop when it fails. */
function run(program, args, options = {}) {
  const { error, status, signal } = spawnSync(program, args, { ...options, stdio: ["ignore", 2, 2] });
  if (error !== undefined) throw new Stop(`cannot run ${program}: ${error.message}`);
  if (status !== 0) throw new Stop(`${[program, ...args].join(" ")} failed (${signal ?? `exit status ${status}`})`);
}

/** Two starts at once: the second waits for the first, then finds its work done. */
async function withLock(work) {
  mkdirSync(cache, { recursive: true });
  const lock = join(cache, "bootstrap.lock");
  let told = false;
  while (!takeLock(lock)) {
    if (!told) say("waiting for another start that is installing");
    told = true;
    // Polling: nothing tells when a process that is not our child has ended
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const release = () => rmSync(lock, { recursive: true, force: true });
  process.once("exit", release);
  try {
    work();
  } finally {
    release();
    process.off("exit", release);
  }
}

function takeLock(lock) {
  try {
    mkdirSync(lock);
    writeFileSync(join(lock, "pid"), String(process.pid));
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    if (isAbandoned(lock)) rmSync(lock, { recursive: true, force: true });
    return false;
  }
}

/** True when the lock's owner is gone, or never came to write its pid. */
function isAbandoned(lock) {
  const pid = Number(readIfThere(join(lock, "pid")));
  if (!(pid > 0)) {
    const made = statSync(lock, { throwIfNoEntry: false });
    return made !== undefined && Date.now() - made.mtimeMs > 10_000;
  }
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return error.code === "ESRCH";
  }
}

/** Becomes the command as far as Node can: its input, output, signals and exit status. */
function runCommand([program, ...args]) {
  const PATH = [join(root, "node_modules/.bin"), process.env.PATH ?? ""].join(delimiter);
  const child = spawn(program, args, { stdio: "inherit", env: { ...process.env, PATH } });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => {
      // Ctrl-C on a terminal reaches the child by itself
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.once("error", (error) => {
    say(`cannot run ${program}: ${error.message}`);
    process.exitCode = 127;
  });
  child.once("exit", (status, signal) => {
    if (signal === null) process.exit(status);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

function readIfThere(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

function say(text) {
  process.stderr.write(`qmirror: ${text}\n`);
}
