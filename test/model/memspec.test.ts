import assert from "node:assert/strict";
import { test } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { parseMemspec } from "../../src/model/memspec.ts";

for (const [spec, expected] of [
  ["/m", { snapshot: "external", file: "/m" }],
  ["file=/m", { snapshot: "external", file: "/m" }],
  ["/m,snapshot=external", { snapshot: "external", file: "/m" }],
  ["snapshot=external,file=/a,,b=c,,", { snapshot: "external", file: "/a,b=c," }],
  ["/file=a", { snapshot: "external", file: "/file=a" }],
  ["snapshot=external", { snapshot: "external" }],
  ["snapshot=internal", { snapshot: "internal" }],
  ["snapshot=no", { snapshot: "no" }],
] as const) {
  test(`'${spec}' is read`, () => {
    assert.deepEqual(parseMemspec(spec), expected);
  });
}

for (const [spec, text] of [
  ["", "'' is neither a path nor a setting"],
  ["/m,", "'' is neither a path nor a setting"],
  ["m", "'m' is neither a path nor a setting"],
  ["size=3", "'size=3' is neither a path nor a setting"],
  ["file=", "'file' has no value"],
  ["/a,file=/b", "'file' is given twice"],
  ["/a,/b", "'file' is given twice"],
  ["snapshot=no,snapshot=no", "'snapshot' is given twice"],
  ["snapshot=manual", "snapshot 'manual' is not supported (supported: no, internal, external)"],
  ["/m,snapshot=internal", "a file needs snapshot=external"],
] as const) {
  test(`'${spec}' is refused: ${text}`, () => {
    assert.throws(
      () => parseMemspec(spec),
      (error) => isQmError(error, "QM_INVALID") && error.message.includes(text) && error.fields["spec"] === spec,
    );
  });
}

test("relative paths are refused", () => {
  assert.throws(
    () => parseMemspec("file=m"),
    (error) => isQmError(error, "QM_XML_INVALID"),
  );
});
