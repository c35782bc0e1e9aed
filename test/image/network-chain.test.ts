import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { readChain } from "../../src/image/chain.ts";
import { createOverlay, setBacking } from "../../src/image/create.ts";
import { readImageInfo } from "../../src/image/info.ts";
import { makeNetworkImage, type DiskFormat, type ImageRef } from "../../src/model/image.ts";
import { failsWith, image, qemuImg, scratchDirectory } from "./scratch.ts";

const disk = "vda";
const export1 = (format: DiskFormat): ImageRef =>
  makeNetworkImage({ protocol: "nbd", server: { socket: "/run/a b&c" }, exportName: "e 1" }, format);

test("a header that names a network image is followed only where the definition names the same", async (t) => {
  const directory = scratchDirectory(t);
  const [base, top] = [image(join(directory, "base"), "raw"), image(join(directory, "top"))];
  qemuImg("create", "-q", "-f", "raw", base.path, "1M");
  const net = export1("qcow2");
  await createOverlay({ image: top, backing: net, sizeBytes: 2 ** 20 });
  assert.equal((await readImageInfo(top, { disk })).header?.backingName, net.path);

  const broken = (words: RegExp) => failsWith("QM_CHAIN_BROKEN", words);
  await assert.rejects(readChain(top, { disk }), broken(/the disk's <backingStore> does not name it/));
  const other = makeNetworkImage({ protocol: "http", host: { name: "h", port: 80 }, file: "x" }, "qcow2");
  await assert.rejects(readChain(top, { disk, stated: [other] }), broken(/does not name it/));
  await assert.rejects(readChain(top, { disk, stated: [export1("raw")] }), broken(/is qcow2, <backingStore> says raw/));
  assert.deepEqual(await readChain(top, { disk, stated: [net, base] }), [top, net, base]);

  // A snapshot has come between since it was stated.
  const snapshot = image(join(directory, "s1"));
  await createOverlay({ image: snapshot, backing: top, sizeBytes: 2 ** 20 });
  assert.deepEqual(await readChain(snapshot, { disk, stated: [net] }), [snapshot, top, net]);
  // What stands below the network layer is stated, and must be there.
  const gone = image(join(directory, "gone"), "raw");
  await assert.rejects(readChain(top, { disk, stated: [net, gone] }), broken(/gone: it does not exist/));
  // A pull has made the network layer needless.
  await setBacking({ image: top, backing: base });
  assert.deepEqual(await readChain(top, { disk, stated: [net] }), [top, base]);
});

test("other spellings of the same network image are the same image", async (t) => {
  const top = image(join(scratchDirectory(t), "top"));
  const source = { protocol: "nbd", server: { name: "h", port: 10809 }, exportName: "e" } as const;
  const net = makeNetworkImage(source, "raw");
  const names = [
    "nbd://h/e",
    'json:{"driver":"nbd","server":{"type":"inet","host":"h","port":"10809"},"export":"e"}',
    'json:{"driver":"raw","file":{"driver":"nbd","server.type":"inet","server.host":"h","export":"e"}}',
  ];
  for (const name of names) {
    qemuImg("create", "-q", "-f", "qcow2", top.path, "1M");
    qemuImg("rebase", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", name, top.path);
    assert.deepEqual(await readChain(top, { disk, stated: [net] }), [top, net], name);
  }
});

test("the chain of a network image is what is stated, and none of it is opened over the network", async (t) => {
  const base = image(join(scratchDirectory(t), "base"), "raw");
  qemuImg("create", "-q", "-f", "raw", base.path, "1M");
  const net = export1("qcow2");
  assert.deepEqual(await readChain(net, { disk, stated: [base] }), [net, base]);
  assert.deepEqual(await readChain(net, { disk }), [net]);
  await assert.rejects(readChain(net, { disk, stated: [net] }), failsWith("QM_CHAIN_BROKEN", /in the chain twice/));
  await assert.rejects(readImageInfo(net, { disk }), failsWith("QM_UNSUPPORTED", /network image .*is not read/));
});

test("headers that contradict the stated chain are refused with both", async (t) => {
  const directory = scratchDirectory(t);
  const [base, top] = [image(join(directory, "base"), "raw"), image(join(directory, "top"))];
  qemuImg("create", "-q", "-f", "raw", base.path, "1M");
  await createOverlay({ image: top, backing: base, sizeBytes: 2 ** 20 });
  assert.deepEqual(await readChain(top, { disk, stated: [base] }), [top, base]);
  const refused: [stated: ImageRef[], words: RegExp][] = [
    [[], /top: <backingStore> says that it stands on nothing, its header says \S+base \(raw\)/],
    [[image(base.path)], /stands on \S+base \(qcow2\), its header says \S+base \(raw\)/],
    [[image("/other", "raw")], /stands on \/other \(raw\), its header/],
    [[base, image("/more")], /base: <backingStore> says that it stands on \/more \(qcow2\), its header says nothing/],
    [[{ ...base, type: "block" }], /its header says/],
  ];
  for (const [stated, words] of refused) {
    await assert.rejects(readChain(top, { disk, stated }), failsWith("QM_CHAIN_BROKEN", words));
  }
});
