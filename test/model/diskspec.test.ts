import assert from "node:assert/strict";
import { test } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { parseDiskspec } from "../../src/model/diskspec.ts";

test("each key is read, and doubled commas stand for one", () => {
  assert.deepEqual(parseDiskspec("vda"), { name: "vda" });
  for (const snapshot of ["no", "internal", "external", "manual"] as const) {
    assert.deepEqual(parseDiskspec(`vda,snapshot=${snapshot}`), { name: "vda", snapshot });
  }
  assert.deepEqual(parseDiskspec("vda,snapshot=external,driver=qcow2,stype=block,file=/dev/a,mirror=/c"), {
    name: "vda",
    snapshot: "external",
    format: "qcow2",
    source: { path: "/dev/a", type: "block" },
    mirror: { path: "/c", type: "file" },
  });
  assert.deepEqual(parseDiskspec("/img/a,,b,file=/a,,b=c,,"), {
    name: "/img/a,b",
    source: { path: "/a,b=c,", type: "file" },
  });
});

test("commas pair up from the left", () => {
  assert.deepEqual(parseDiskspec("vda,,,file=/x"), { name: "vda,", source: { path: "/x", type: "file" } });
});

for (const [spec, text] of [
  ["", "names no disk"],
  [",file=/a", "names no disk"],
  ["vda,", "'' is none of"],
  ["vda,size=3", "'size' is none of snapshot"],
  ["vda,file", "'file' has no value"],
  ["vda,file=", "'file' has no value"],
  ["vda,file=/a,file=/b", "'file' is given twice"],
  ["vda,snapshot=both", "snapshot 'both' is not supported (supported: no, internal, external, manual)"],
  ["vda,driver=raw", "driver 'raw' is not supported"],
  ["vda,stype=network", "stype 'network' is not supported"],
] as const) {
  test(`'${spec}' is refused: ${text}`, () => {
    assert.throws(
      () => parseDiskspec(spec),
      (error) => isQmError(error, "QM_INVALID") && error.message.includes(text) && error.fields["spec"] === spec,
    );
  });
}

test("relative paths are refused", () => {
  assert.throws(
    () => parseDiskspec("vda,mirror=c"),
    (error) => isQmError(error, "QM_XML_INVALID"),
  );
});
