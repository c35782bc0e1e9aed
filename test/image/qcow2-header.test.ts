import { test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { QmError } from "../../src/base/errors.ts";
import { readImageInfo } from "../../src/image/info.ts";
import { parseQcow2Header, type Qcow2Header } from "../../src/image/qcow2-header.ts";
import { failsWith, image, qemuImg, scratchDirectory } from "./scratch.ts";

const name = { disk: "vda", path: "/x" };

interface QemuInfo {
  "virtual-size": number;
  "cluster-size": number;
  "actual-size": number;
  "backing-filename"?: string;
  "backing-filename-format"?: string;
  encrypted?: boolean;
  "format-specific": { data: { compat: string; "extended-l2"?: boolean; "data-file"?: string; corrupt?: boolean } };
}

/** What qemu-img says, in our words. */
function askQemu(path: string): Qcow2Header {
  const info = JSON.parse(qemuImg("info", "-U", "--output=json", "-f", "qcow2", path)) as QemuInfo;
  const { data } = info["format-specific"];
  return {
    version: data.compat === "0.10" ? 2 : 3,
    virtualSizeBytes: info["virtual-size"],
    clusterSizeBytes: info["cluster-size"],
    ...(info["backing-filename"] === undefined ? {} : { backingName: info["backing-filename"] }),
    ...(info["backing-filename-format"] === undefined ? {} : { backingFormat: info["backing-filename-format"] }),
    encrypted: info.encrypted ?? false,
    dataFile: data["data-file"] !== undefined,
    extendedL2: data["extended-l2"] ?? false,
    corrupt: data.corrupt ?? false,
    unknownFeatures: false,
  };
}

test("the header reads as qemu-img reads it", async (t) => {
  const directory = scratchDirectory(t);
  const secret = ["--object", "secret,id=s,data=abc"];
  const longName = `${"d/".repeat(350)}${"n".repeat(300)}ö`;
  const backed = ["-u", "-F", "raw", "-b", longName];
  const cases: [label: string, ...args: string[]][] = [
    ["v3"],
    ["v2", "-o", "compat=0.10"],
    ["v2 backed", "-o", "compat=0.10", ...backed],
    ["4k clusters", "-o", "cluster_size=4096", ...backed],
    ["512 byte clusters", "-o", "cluster_size=512", "-u", "-F", "qcow2", "-b", "short"],
    ["2M clusters", "-o", "cluster_size=2M", ...backed],
    ["extended", "-o", "extended_l2=on,cluster_size=128k", "-u", "-F", "qcow2", "-b", "/a/b,c:d"],
    ["zstd", "-o", "compression_type=zstd,lazy_refcounts=on", ...backed],
    ["data file", "-o", `data_file=${directory}/data,data_file_raw=on`],
    ["luks", ...secret, "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"],
    ["backing protocol", "-u", "-F", "raw", "-b", "nbd://host/export"],
  ];
  for (const [label, ...args] of cases) {
    const path = join(directory, `${label}.qcow2`);
    qemuImg("create", "-q", "-f", "qcow2", ...args, path, "1234567168");
    assert.deepEqual(parseQcow2Header(readFileSync(path), { ...name, path }), askQemu(path), label);
    const info = readImageInfo(image(path), { disk: "vda" });
    if (label === "data file" || label === "luks") {
      await assert.rejects(info, failsWith("QM_UNSUPPORTED", /data file|encrypted/));
    } else {
      assert.deepEqual((await info).header, askQemu(path), label);
    }
  }
});

test("what is not qcow2 is refused with a reason", () => {
  const good = Buffer.alloc(65536);
  good.write("QFI\xfb", "latin1");
  good.writeUInt32BE(3, 4);
  good.writeUInt32BE(16, 20);
  good.writeBigUInt64BE(1n << 30n, 24);
  good.writeUInt32BE(104, 100);
  assert.equal(parseQcow2Header(good, name).virtualSizeBytes, 2 ** 30);
  const cases: [reason: RegExp, change: (data: Buffer) => Buffer | void][] = [
    [/no qcow2 header/, (data) => void data.fill(0, 0, 4)],
    [/cut short/, (data) => data.subarray(0, 71)],
    [/cut short/, (data) => data.subarray(0, 103)],
    [/version 4/, (data) => void data.writeUInt32BE(4, 4)],
    [/cluster bits 22/, (data) => void data.writeUInt32BE(22, 20)],
    [/virtual size/, (data) => void data.writeBigUInt64BE(1n << 60n, 24)],
    [/header length 96/, (data) => void data.writeUInt32BE(96, 100)],
    [/outside the first cluster/, (data) => void data.writeBigUInt64BE(65537n, 8)],
    [/too long/, (data) => [data.writeBigUInt64BE(200n, 8), data.writeUInt32BE(1024, 16), data].at(-1) as Buffer],
    [/too long/, (data) => [data.writeBigUInt64BE(65500n, 8), data.writeUInt32BE(100, 16), data].at(-1) as Buffer],
    [/not UTF-8/, (data) => [data.writeBigUInt64BE(200n, 8), data.writeUInt32BE(4, 16), data].at(-1) as Buffer],
    [/extensions/, (data) => [data.writeUInt32BE(1, 104), data.writeUInt32BE(70000, 108), data].at(-1) as Buffer],
  ];
  for (const [reason, change] of cases) {
    const data = Buffer.from(good);
    const changed = change(data) ?? data;
    assert.throws(() => parseQcow2Header(changed, name), failsWith("QM_IMAGE_FORMAT", reason));
  }
});

test("hostile bytes give a header or a QmError, and nothing else", (t) => {
  const path = join(scratchDirectory(t), "seed.qcow2");
  qemuImg("create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", "/some/base.raw", path, "1G");
  const seed = readFileSync(path).subarray(0, 1024);
  const edits = fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 12 });
  let parsed = 0;
  fc.assert(
    fc.property(edits, fc.nat(1024), (changes, length) => {
      const data = Buffer.from(seed);
      for (const [offset, value] of changes) data[offset < 120 ? offset : offset + 400] = value;
      // What lies behind the view in the same memory must not be read.
      try {
        const header = parseQcow2Header(data.subarray(0, length), name);
        assert.ok(header.virtualSizeBytes >= 0 && (header.backingName?.length ?? 0) <= 1023);
        assert.deepEqual(parseQcow2Header(Uint8Array.from(data.subarray(0, length)), name), header);
        parsed++;
      } catch (error) {
        if (!(error instanceof QmError)) throw error;
      }
    }),
    { numRuns: 3000 },
  );
  assert.ok(parsed > 50, `only ${parsed} inputs came through`);
});
