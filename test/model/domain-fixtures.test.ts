import assert from "node:assert/strict";
import { test } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { formatDomain } from "../../src/model/domain-format.ts";
import { parseDomain } from "../../src/model/domain-parse.ts";
import { validateXml } from "../../src/xml/validate.ts";
import { loadFixtures } from "./fixtures.ts";

const newUuid = (): string => "11111111-2222-4333-8444-555555555555";

for (const { name, xml, output, expected } of loadFixtures("domain")) {
  if (expected === undefined) {
    test(`domain ${name}: is written as recorded, valid by our schema, and read back the same`, () => {
      const definition = parseDomain(xml, { newUuid });
      const written = formatDomain(definition);
      assert.equal(written, output);
      validateXml(written, "domain");
      assert.deepEqual(parseDomain(written), definition);
    });
  } else {
    test(`domain ${name}: ${expected.code} ${expected.text}`, () => {
      assert.throws(
        () => parseDomain(xml, { newUuid }),
        (error) => isQmError(error) && error.code === expected.code && error.message.includes(expected.text),
      );
    });
  }
}
