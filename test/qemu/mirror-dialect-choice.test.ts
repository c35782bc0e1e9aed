import assert from "node:assert/strict";
import { test } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { blockdevCommands } from "../../src/qemu/mirror-dialect/blockdev.ts";
import { driveCommands } from "../../src/qemu/mirror-dialect/drive.ts";
import { chooseDialect } from "../../src/qemu/mirror-dialect/index.ts";
import { reopenCommands } from "../../src/qemu/mirror-dialect/reopen.ts";

const sets: Record<string, readonly string[]> = {
  blockdev: blockdevCommands,
  drive: driveCommands,
  reopen: reopenCommands(""),
  redhat: reopenCommands("__com.redhat_"),
};

for (const [name, commands] of Object.entries(sets)) {
  test(`a QEMU with the commands of ${name} gets that dialect, and not without any one of them`, () => {
    assert.equal(chooseDialect(new Set(["query-status", ...commands])), name);
    for (const missing of commands) {
      const rest = new Set(commands.filter((command) => command !== missing));
      try {
        assert.notEqual(chooseDialect(rest), name);
      } catch (error) {
        assert.ok(isQmError(error, "QM_QEMU_TOO_OLD"));
        assert.match(error.message, name === "blockdev" ? new RegExp(`lacks .*${missing}`) : /lacks blockdev-add/);
      }
    }
  });
}

test("a QEMU that can more gets the best dialect", () => {
  assert.equal(chooseDialect(new Set(Object.values(sets).flat())), "blockdev");
  assert.equal(chooseDialect(new Set([...driveCommands, ...reopenCommands("")])), "drive");
});

test("a QEMU that is too old is told by what it lacks", () => {
  assert.throws(
    () => chooseDialect(new Set(["query-status", "transaction"])),
    (error: unknown) =>
      isQmError(error, "QM_QEMU_TOO_OLD") &&
      error.message === "this QEMU lacks blockdev-add, blockdev-create, blockdev-reopen, blockdev-mirror, job-finalize",
  );
});
