/** Merging layers that nobody has open: commit-layer.ts and pull-layer.ts. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { checkImage } from "../../src/image/check.ts";
import { commitLayer } from "../../src/image/commit-layer.ts";
import { setBacking } from "../../src/image/create.ts";
import { readImageInfo } from "../../src/image/info.ts";
import { pullLayer } from "../../src/image/pull-layer.ts";
import { allocatedDataBytes } from "../../src/image/internal-snapshots.ts";
import type { ImageRef } from "../../src/model/image.ts";
import { failsWith, image, qemuImg, qemuIo, scratchDirectory } from "./scratch.ts";

const disk = "vda";
const MiB = 1024 * 1024;

interface Chain {
  readonly top: ImageRef;
  readonly middle: ImageRef;
  readonly base: ImageRef;
  /** What an image shows with all that is below it. */
  readonly show: (image: ImageRef) => Buffer;
}

/** Clusters of `base` are larger than writes to `top`: what is beside them must come from below. */
function makeChain(t: TestContext, { baseFormat = "qcow2" as "qcow2" | "raw", middleSize = "8M" } = {}): Chain {
  const directory = scratchDirectory(t);
  const [top, middle] = ["top", "mid,1:x"].map((name) => image(join(directory, name)));
  const base = image(join(directory, "base"), baseFormat);
  assert.ok(top !== undefined && middle !== undefined);
  const large = baseFormat === "raw" ? [] : ["-o", "cluster_size=2M"];
  qemuImg("create", "-q", "-f", baseFormat, ...large, base.path, "4M");
  const below = ["create", "-q", "-f", "qcow2", "-u"];
  qemuImg(...below, "-o", "cluster_size=2M", "-F", baseFormat, "-b", base.path, middle.path, middleSize);
  qemuImg(...below, "-F", "qcow2", "-b", middle.path, top.path, "8M");
  qemuImg("bench", "-q", "-w", "-f", baseFormat, "-c", "4", "-s", "1M", "-S", "1M", "--pattern=1", base.path);
  qemuIo(middle.path, "write -P 2 1M 1M");
  qemuIo(top.path, "write -P 3 2560k 64k", "write -z 3M 64k", "write -P 3 6M 1M");
  const show = ({ path, format }: ImageRef): Buffer => {
    qemuImg("convert", "-f", format, "-O", "raw", path, join(directory, "flat"));
    return readFileSync(join(directory, "flat"));
  };
  return { top, middle, base, show };
}

for (const baseFormat of ["qcow2", "raw"] as const) {
  test(`layers are committed one by one into a smaller ${baseFormat} base; each may be repeated`, async (t) => {
    const { top, middle, base, show } = makeChain(t, { baseFormat });
    const before = show(top);
    const progress: number[] = [];
    const onProgress = (done: number, total: number) => progress.push(done / total);
    await commitLayer({ disk, top, base: middle, onProgress });
    await commitLayer({ disk, top, base: middle });
    assert.ok(show(top).equals(before), "the upper layer still shows the same");
    assert.ok(show(middle).equals(before));
    await commitLayer({ disk, top: middle, base });
    assert.ok(show(base).equals(before));
    assert.equal((await readImageInfo(base, { disk })).virtualSizeBytes, 8 * MiB);
    assert.equal(progress.at(-1), 1);
    assert.deepEqual(
      progress,
      progress.toSorted((a, b) => a - b),
    );
  });
}

test("nothing is committed into a larger base, whose data behind the layer's end would come to light; it can be pulled", async (t) => {
  const { top, middle, base, show } = makeChain(t, { middleSize: "2M" });
  const before = show(top);
  await assert.rejects(commitLayer({ disk, top: middle, base }), failsWith("QM_UNSUPPORTED", /base has 4194304 bytes/));
  await pullLayer({ disk, top, backing: middle, newBacking: base });
  assert.ok(show(top).equals(before));
});

for (const alone of [false, true]) {
  test(`layers are pulled into one that ${alone ? "then stands alone" : "stands on the base then"}; a repeat changes nothing`, async (t) => {
    const { top, middle, base, show } = makeChain(t);
    const before = show(top);
    const options = { disk, top, backing: middle, ...(alone ? {} : { newBacking: base }) };
    for (const round of [1, 2]) {
      await pullLayer(options);
      const { header } = await readImageInfo(top, { disk });
      assert.equal(header?.backingName, alone ? undefined : base.path, `round ${round}`);
      assert.equal(header?.backingFormat, alone ? undefined : "qcow2");
      assert.ok(show(top).equals(before));
    }
  });
}

test("a header that names the new backing image before the data were there is not believed", async (t) => {
  const { top, middle, base, show } = makeChain(t);
  const before = show(top);
  await setBacking({ image: top, backing: base });
  assert.ok(!show(top).equals(before));
  await pullLayer({ disk, top, backing: middle, newBacking: base });
  assert.ok(show(top).equals(before));
});

for (const name of ["commit", "pull"] as const) {
  test(`${name}: stopped in the middle, nothing is lost, and a repeat finishes it`, async (t) => {
    const { top, middle, base, show } = makeChain(t);
    const before = show(top);
    const merge = (options: { signal?: AbortSignal; onProgress?: () => void; bytesPerS?: number }) =>
      name === "commit"
        ? commitLayer({ disk, top, base: middle, ...options })
        : pullLayer({ disk, top, backing: middle, newBacking: base, ...options });
    for (const calls of [1, 2]) {
      const cancel = new AbortController();
      let heard = 0;
      const onProgress = () => void (++heard === calls && cancel.abort());
      await assert.rejects(merge({ signal: cancel.signal, onProgress, bytesPerS: 1 * MiB }), failsWith("QM_CANCELLED"));
      assert.ok(show(top).equals(before));
    }
    await merge({});
    assert.ok(show(name === "commit" ? middle : top).equals(before));
    for (const layer of [top, middle]) assert.equal((await checkImage(layer)).corruptions, 0);
  });

  test(`${name}: refused in QEMU's words while a process has a layer open for writing`, async (t) => {
    const { top, middle, base, show } = makeChain(t);
    const before = show(top);
    const other = spawn("qemu-io", ["-f", "qcow2", top.path], { stdio: ["pipe", "pipe", "ignore"] });
    const ended = once(other, "close");
    t.after(async () => {
      other.stdin.end();
      await ended;
    });
    await once(other.stdout, "data"); // its prompt: it has opened the image
    const merged =
      name === "commit"
        ? commitLayer({ disk, top, base: middle })
        : pullLayer({ disk, top, backing: middle, newBacking: base });
    await assert.rejects(merged, failsWith("QM_IMAGE_TOOL", /Is another process using the image/));
    other.stdin.end();
    await ended;
    assert.ok(show(top).equals(before));
  });
}

test("the data of one layer are counted without its zeros and without what is below", async (t) => {
  const { top, middle, base } = makeChain(t);
  assert.equal(await allocatedDataBytes(top, { disk }), MiB + 64 * 1024);
  assert.equal(await allocatedDataBytes(middle, { disk }), 2 * MiB);
  assert.equal(await allocatedDataBytes(base, { disk }), 4 * MiB);
  const directory = scratchDirectory(t);
  const [small, packed] = ["small", "packed"].map((name) => image(join(directory, name)));
  assert.ok(small !== undefined && packed !== undefined);
  qemuImg("create", "-q", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k", small.path, "1G");
  qemuIo(small.path, "write 0 4k", "write 900M 8k", "write -z 1M 128k");
  assert.equal(await allocatedDataBytes(small, { disk }), 12 * 1024);
  qemuImg("create", "-q", "-f", "qcow2", packed.path, "1G");
  qemuIo(packed.path, "write -c -P 7 0 64k", "write 999M 64k");
  assert.equal(await allocatedDataBytes(packed, { disk }), 128 * 1024);
  const raw = image(join(directory, "raw"), "raw");
  qemuImg("create", "-q", "-f", "raw", raw.path, "8M");
  assert.ok((await allocatedDataBytes(raw, { disk })) < MiB);
});
