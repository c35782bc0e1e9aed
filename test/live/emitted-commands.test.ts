/** Every command that the verbs send is one that the recorded schema of a real QEMU accepts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkCommand, loadSchema } from "../../src/testing/schema-check.ts";
import { blockdevDisks, ServiceRig } from "./service-rig.ts";

test("the commands of a mirrored snapshot, pivot, abort, migration and clone are valid", async (t) => {
  const rig = new ServiceRig();
  t.after(() => rig.close());
  const base = rig.createImage("base");
  const disks = { vda: rig.createImage("vda.qcow2", { backing: base }), vdb: rig.createImage("vdb.qcow2") };
  await rig.open();
  const proxy = await rig.attachThroughProxy("d", await rig.startForeign(blockdevDisks(disks)));
  const sentBy = new Map<string, Set<string>>();
  let read = 0;
  const schema = loadSchema();
  const check = (verb: string): void => {
    for (const { command, args } of proxy.log.slice(read)) {
      assert.deepEqual(checkCommand(schema, command, args), [], `${verb}: ${command} ${JSON.stringify(args)}`);
      sentBy.set(verb, (sentBy.get(verb) ?? new Set()).add(command));
    }
    read = proxy.log.length;
  };
  const mirrored = (name: string) => {
    rig.image(`${name}/`);
    const diskspecs = ["vda", "vdb"].map((target) => `${target},mirror=${rig.image(`${name}/${target}`)}`);
    return rig.facade.createSnapshot("d", { name, diskspecs });
  };
  const move = async (verb: "migrateStorage" | "cloneStorage", flatten: boolean): Promise<void> => {
    const to = rig.image(`${verb}-${String(flatten)}/`);
    const final = await rig.finish(await rig.facade[verb]("d", { to, flatten, verify: true, bytesPerS: 1024 ** 3 }));
    assert.equal(final.state, "succeeded", JSON.stringify(final.error));
    check(verb);
  };

  check("attach");
  await mirrored("s1");
  check("snapshot-create");
  await rig.facade.endMirrors("d", "s1", "pivot");
  check("pivot");
  await mirrored("s2");
  await rig.facade.endMirrors("d", "s2", "abort");
  check("abort");
  await move("cloneStorage", false);
  await move("migrateStorage", false);
  await move("migrateStorage", true);
  await rig.facade.detachDomain("d");
  check("detach");

  const sends = (verb: string, ...commands: string[]): void => {
    for (const command of commands) assert.ok(sentBy.get(verb)?.has(command), `${verb} sends ${command}`);
  };
  sends("snapshot-create", "blockdev-create", "blockdev-add", "transaction", "blockdev-mirror");
  sends("pivot", "job-complete", "job-finalize", "job-dismiss", "blockdev-del");
  sends("abort", "block-job-cancel", "job-finalize", "job-dismiss", "blockdev-del");
  sends("migrateStorage", "blockdev-reopen", "block-commit", "job-complete", "blockdev-del");
  sends("cloneStorage", "block-job-cancel", "block-commit");
});
