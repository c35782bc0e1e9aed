import { test } from "node:test";
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { runQemuImg, runTool } from "../../src/image/run-qemu-img.ts";
import { failsWith } from "./scratch.ts";

test("a failure carries qemu-img's own words, without a shell in between", async () => {
  const path = "/nonexistent/$(touch x); 'a b'";
  await assert.rejects(
    runQemuImg(["info", "-f", "qcow2", path], { path }),
    failsWith("QM_IMAGE_TOOL", /qemu-img info failed on .*: Could not open .*\$\(touch x\); 'a b'.*No such file/),
  );
});

test("a missing program is a QM_IMAGE_TOOL error", async () => {
  await assert.rejects(
    runTool(["qmirror-no-such-tool"], { path: "/x" }),
    failsWith("QM_IMAGE_TOOL", /No such file|ENOENT/),
  );
});

test("an answer by exit code is no failure", async () => {
  const result = await runTool(["sh", "-c", "echo out; echo err >&2; exit 3"], { path: "/x", okExitCodes: [3] });
  assert.deepEqual(result, { exitCode: 3, stdout: "out\n", stderr: "err\n" });
});

test("an abort ends the process before the call rejects", async () => {
  const controller = new AbortController();
  let pid = 0;
  const run = runTool(["sh", "-c", "echo $$; exec sleep 60"], {
    path: "/x",
    signal: controller.signal,
    onStdout: (text) => {
      pid = Number(text);
      controller.abort();
    },
  });
  await assert.rejects(run, failsWith("QM_CANCELLED"));
  assert.ok(pid > 0);
  assert.equal(isRunning(pid), false);
  await assert.rejects(runQemuImg(["--version"], { path: "/x", signal: controller.signal }), failsWith("QM_CANCELLED"));
});

test("an error thrown by the reader of the output ends the process and is kept as the cause", async () => {
  const run = runTool(["sh", "-c", "echo x; exec sleep 60"], {
    path: "/x",
    onStdout: () => {
      throw new Error("reader failed");
    },
  });
  await assert.rejects(run, failsWith("QM_IMAGE_TOOL", /reader failed/));
});

test("the process dies when its parent is killed", async (t) => {
  if (spawnSync("setpriv", ["--version"]).status !== 0) return t.skip("setpriv is not installed");
  const module = new URL("../../src/image/run-qemu-img.ts", import.meta.url).href;
  const script = `const { runTool } = await import(${JSON.stringify(module)});
    await runTool(["sh", "-c", "echo $$; exec sleep 60"], { path: "/x", onStdout: (text) => process.stdout.write(text) });`;
  const parent = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => parent.kill("SIGKILL"));
  const [chunk] = (await once(parent.stdout, "data")) as [Buffer];
  const pid = Number(chunk.toString());
  assert.ok(pid > 0 && isRunning(pid));
  parent.kill("SIGKILL");
  await once(parent, "exit");
  // Nothing tells of the end of a process that is not our child: look until it is gone.
  for (let round = 0; round < 200 && isRunning(pid); round++) await delay(10);
  assert.equal(isRunning(pid), false);
});

function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
