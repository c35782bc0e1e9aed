import { test } from "node:test";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { compareChains } from "../../src/image/compare.ts";
import { copyLayer } from "../../src/image/copy.ts";
import { createOverlay } from "../../src/image/create.ts";
import { createEmptyFile } from "../../src/image/files.ts";
import { image, qemuImg, qemuIo, scratchDirectory } from "./scratch.ts";

test("a layer is copied and compared while a QEMU has it open below its overlay", async (t) => {
  const directory = scratchDirectory(t);
  const base = image(join(directory, "base"));
  const overlay = image(join(directory, "overlay"));
  const copy = image(join(directory, "copy"));
  qemuImg("create", "-q", "-f", "qcow2", base.path, "16M");
  qemuIo(base.path, "write -P 7 1M 3M");
  await createOverlay({ image: overlay, backing: base, sizeBytes: 16 * 1024 * 1024 });

  const drive = `driver=qcow2,node-name=base,file.driver=file,file.filename=${base.path}`;
  const machine = ["-accel", "tcg", "-machine", "q35", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"];
  const args = [...machine, "-blockdev", drive, "-device", "virtio-blk-pci,drive=base,id=d"];
  const qemu = spawn("qemu-system-x86_64", args, { stdio: ["pipe", "pipe", "inherit"] });
  t.after(async () => {
    const exited = qemu.exitCode === null ? once(qemu, "exit") : undefined;
    qemu.kill("SIGKILL");
    await exited;
  });
  const lines = createInterface(qemu.stdout)[Symbol.asyncIterator]();
  await lines.next();
  const execute = async (execute: string, args: object = {}) => {
    qemu.stdin.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error("QEMU ended");
      const reply = JSON.parse(value) as { return?: unknown; error?: unknown; event?: string };
      if (reply.event !== undefined) continue;
      assert.equal(reply.error, undefined, value);
      return reply.return;
    }
  };
  await execute("qmp_capabilities");
  const file = { driver: "file", filename: overlay.path };
  await execute("blockdev-add", { driver: "qcow2", "node-name": "overlay", file, backing: null });
  await execute("blockdev-snapshot", { node: "base", overlay: "overlay" });

  await createEmptyFile(copy.path, { disk: "vda" });
  await copyLayer({ from: base, to: copy, disk: "vda" });
  assert.ok(readFileSync(base.path).equals(readFileSync(copy.path)));
  await compareChains({ left: [base], right: [copy], disk: "vda" });
  // The active overlay is locked for writing, the guest being stopped it is at rest.
  await compareChains({ left: [overlay, base], right: [copy], disk: "vda" });
});
