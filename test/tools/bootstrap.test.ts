import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

// A project of its own, with programs on its PATH that only note how they were called
let project: string;
let programs: string;
beforeEach(async () => {
  project = await mkdtemp(join(tmpdir(), "qmirror-bootstrap-"));
  programs = join(project, "programs");
  for (const directory of ["tools", "node_modules/.bin", "programs"]) {
    await mkdir(join(project, directory), { recursive: true });
  }
  await copyFile(new URL("../../tools/bootstrap.mjs", import.meta.url), join(project, "tools/bootstrap.mjs"));
  await writeFile(join(project, "package-lock.json"), "{}");
  await symlink(process.execPath, join(project, "node_modules/.bin/node"));
  // Slow enough for a second start to find the first one at work
  await addProgram("npm", "/bin/sleep 0.3");
});
afterEach(() => rm(project, { recursive: true, force: true }));

async function addProgram(name: string, action: string): Promise<void> {
  const path = join(programs, name);
  await writeFile(path, `#!/bin/sh\necho ${name} "$@" >> ${project}/calls\n${action}\n`);
  await chmod(path, 0o755);
}

async function readCalls(): Promise<string[]> {
  const text = await readFile(join(project, "calls"), "utf8").catch(() => "");
  return text.split("\n").filter((line) => line !== "");
}

const script = () => join(project, "tools/bootstrap.mjs");

function start(path: string, ...args: string[]): Promise<{ status: unknown; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, PATH: path };
    execFile(process.execPath, [script(), ...args], { env, timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : error.code, stdout, stderr });
    });
  });
}

const searchPath = () => [programs, process.env["PATH"] ?? ""].join(delimiter);

test("packages are installed at the first start, and again only when the lock file changes", async () => {
  const first = await start(searchPath(), "--", "true");
  assert.equal(first.status, 0);
  assert.equal(first.stderr, "qmirror: installing npm packages\n");
  assert.deepEqual(await start(searchPath(), "--", "true"), { status: 0, stdout: "", stderr: "" });
  assert.equal((await readCalls()).length, 1);
  await writeFile(join(project, "package-lock.json"), "{ }");
  await start(searchPath(), "--", "true");
  assert.equal((await readCalls()).length, 2);
});

test("of two starts at once one installs and the other waits for it", async () => {
  const both = await Promise.all([start(searchPath(), "--", "echo", "1"), start(searchPath(), "--", "echo", "2")]);
  assert.deepEqual(
    both.map(({ status, stdout }) => ({ status, stdout })),
    [
      { status: 0, stdout: "1\n" },
      { status: 0, stdout: "2\n" },
    ],
  );
  assert.equal((await readCalls()).length, 1);
});

test("a lock whose owner is gone does not block", async () => {
  const ended = spawn("true");
  await once(ended, "exit");
  await mkdir(join(project, ".cache/bootstrap.lock"), { recursive: true });
  await writeFile(join(project, ".cache/bootstrap.lock/pid"), String(ended.pid));
  assert.equal((await start(searchPath(), "--", "true")).status, 0);
  assert.equal((await readCalls()).length, 1);
});

test("a failed installation stops, says what failed, and is tried again", async () => {
  await addProgram("npm", "exit 3");
  const failed = await start(searchPath(), "--", "echo", "ran");
  assert.deepEqual({ status: failed.status, stdout: failed.stdout }, { status: 1, stdout: "" });
  assert.match(failed.stderr, /qmirror: npm install .* failed \(exit status 3\)\n$/);
  await start(searchPath(), "--", "true");
  assert.equal((await readCalls()).length, 2);
});

test("the command gets the project's programs first on its PATH, and its exit status is passed on", async () => {
  const { status, stdout } = await start(searchPath(), "--", "sh", "-c", "command -v node; exit 7");
  assert.deepEqual({ status, stdout }, { status: 7, stdout: `${join(project, "node_modules/.bin/node")}\n` });
});

test("a signal reaches the command, and its end by a signal is passed on", async () => {
  await start(searchPath());
  const child = spawn(process.execPath, [script(), "--", "sh", "-c", "echo up; exec sleep 30"], { stdio: "pipe" });
  const exit = once(child, "exit");
  await once(child.stdout, "data");
  child.kill("SIGTERM");
  assert.deepEqual(await exit, [null, "SIGTERM"]);
});

test("missing Debian packages are installed by root and named to everyone else", async () => {
  await start(searchPath());
  await addProgram("apt-get", "");
  const { status, stderr } = await start(programs, "--packages", "--", "true");
  assert.equal(status, 1);
  // It looks for these at fixed places too, not only on the PATH
  const hasBlockCurl = (await readdir("/usr/lib")).some((name) => existsSync(`/usr/lib/${name}/qemu/block-curl.so`));
  const missing = [
    ...["qemu-system-x86", "qemu-utils", "busybox-static"],
    ...(existsSync("/usr/sbin/mkfs.ext4") ? [] : ["e2fsprogs"]),
    ...(existsSync("/usr/sbin/xfs_io") ? [] : ["xfsprogs"]),
    ...(hasBlockCurl ? [] : ["qemu-block-extra"]),
    ...(existsSync("/usr/share/libvirt/schemas") ? [] : ["libvirt0"]),
    "libvirt-clients",
    ...(existsSync("/usr/lib/python3/dist-packages/libvirt.py") ? [] : ["python3-libvirt"]),
  ];
  const install = `install -y --no-install-recommends ${missing.join(" ")}`;
  if (process.getuid?.() === 0) {
    assert.deepEqual((await readCalls()).slice(1), ["apt-get update -qq", `apt-get -qq ${install}`]);
    assert.ok(stderr.endsWith(`still not found: ${missing.join(", ")}\n`), stderr);
  } else {
    assert.equal(stderr, `qmirror: please run: sudo apt-get update && sudo apt-get ${install}\n`);
  }
});

test("the guest's kernel and its agent are unpacked once, and fetched again only where a file is missing", async () => {
  await mkdir(join(project, "src/testing/witness"), { recursive: true });
  const setModules = (names: string[]) =>
    writeFile(join(project, "src/testing/witness/guest-modules.json"), JSON.stringify({ some: names }));
  await setModules(["a"]);
  for (const name of ["qemu-system-x86_64", "qemu-img", "busybox", "mkfs.ext4", "xfs_io", "virsh"])
    await addProgram(name, "");
  await addProgram("apt-cache", "echo '  Depends: linux-image-1-amd64'");
  await addProgram("apt-get", ": > package.deb");
  const files = ["boot/vmlinuz-1", "modules/a.ko", "modules/b.ko", "usr/sbin/qemu-ga", "lib/libc.so.6"];
  await addProgram("dpkg-deb", files.map((file) => `mkdir -p $(dirname $3/${file}); : > $3/${file}`).join("\n"));
  await addProgram("ldd", "echo '  vdso.so (0x1)'; echo \"  libc.so.6 => $(dirname $1)/../../lib/libc.so.6 (0x2)\"");
  const begin = async () => {
    const { status, stderr } = await start(searchPath(), "--packages", "--", "true");
    assert.equal(status, 0, stderr);
    return (await readCalls()).filter((call) => call.includes(" download ")).map((call) => call.split(" ").at(-1));
  };
  assert.deepEqual(await begin(), ["linux-image-1-amd64", "qemu-guest-agent"]);
  assert.deepEqual((await readdir(join(project, ".cache/guest-kernel"))).toSorted(), ["a.ko", "vmlinuz"]);
  assert.deepEqual((await readdir(join(project, ".cache/guest-agent"))).toSorted(), ["libc.so.6", "qemu-ga"]);
  assert.equal((await begin()).length, 2);
  await setModules(["a", "b"]);
  assert.deepEqual((await begin()).slice(2), ["linux-image-1-amd64"]);
  assert.deepEqual((await readdir(join(project, ".cache"))).toSorted(), ["guest-agent", "guest-kernel"]);
});
