import assert from "node:assert/strict";
import test from "node:test";
import { checkCommand, loadSchema } from "../../src/testing/schema-check.ts";

const schema = loadSchema();

test("commands as QEMU takes them have no violation, at any depth", () => {
  const file = { driver: "file", filename: "/a" };
  const accepted: [string, unknown?][] = [
    ["query-status"],
    ["query-status", {}],
    ["query-named-block-nodes", { flat: undefined }],
    ["blockdev-add", { driver: "qcow2", "node-name": "a", file, backing: null }],
    ["blockdev-add", { driver: "qcow2", file: "node", backing: { driver: "qcow2", file, backing: "base" } }],
    ["blockdev-add", { driver: "blkdebug", image: file, "inject-error": [{ event: "write_aio", errno: 5 }] }],
    ["blockdev-reopen", { options: [{ driver: "raw", file }] }],
    ["device_add", { driver: "virtio-blk-pci", drive: "a", id: "x" }],
    ["transaction", { actions: [{ type: "blockdev-snapshot", data: { node: "a", overlay: "b" } }] }],
  ];
  for (const [command, args] of accepted) assert.deepEqual(checkCommand(schema, command, args), []);
});

const refused: [violation: string, command: string, args: unknown][] = [
  ["drive-reopen: unknown command", "drive-reopen", {}],
  ["STOP: unknown command", "STOP", {}],
  ["query-status.verbose: unknown member", "query-status", { verbose: true }],
  ["blockdev-del.node-name: missing", "blockdev-del", {}],
  ["blockdev-del.node-name: 1 is not string", "blockdev-del", { "node-name": 1 }],
  ["block-job-set-speed.speed: 0.5 is not int", "block-job-set-speed", { device: "a", speed: 0.5 }],
  ["block-commit.on-error: 'retry' is not a value of its enum", "block-commit", { device: "a", "on-error": "retry" }],
  ["blockdev-add: [] is not an object", "blockdev-add", []],
  ["blockdev-add.driver: missing", "blockdev-add", { "node-name": "a" }],
  ["blockdev-add.driver: 'ext4' is not a value of its enum", "blockdev-add", { driver: "ext4", size: 1 }],
  ["blockdev-add.backing: unknown member", "blockdev-add", { driver: "raw", file: "a", backing: null }],
  ["blockdev-add.file: null is not any of its alternatives", "blockdev-add", { driver: "raw", file: null }],
  [
    "blockdev-add.backing.file.filename: missing",
    "blockdev-add",
    { driver: "qcow2", file: "a", backing: { driver: "raw", file: { driver: "file" } } },
  ],
  ["transaction.actions: {} is not an array", "transaction", { actions: {} }],
  [
    "transaction.actions[1].data.overlay: missing",
    "transaction",
    {
      actions: [
        { type: "abort", data: {} },
        { type: "blockdev-snapshot", data: { node: "a" } },
      ],
    },
  ],
  [
    "transaction.actions[0].type: 'blockdev-mirror' is not a value of its enum",
    "transaction",
    { actions: [{ type: "blockdev-mirror", data: {} }] },
  ],
];
for (const [violation, command, args] of refused) {
  test(`refused: ${violation}`, () => assert.deepEqual(checkCommand(schema, command, args), [violation]));
}

test("every violation is listed", () => {
  assert.equal(checkCommand(schema, "blockdev-mirror", { target: 1, sync: "all", speeed: 0 }).length, 4);
});
