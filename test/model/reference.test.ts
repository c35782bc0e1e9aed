import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { interfaceModels } from "../../src/model/device-parse.ts";
import { formatDomain } from "../../src/model/domain-format.ts";
import { inputBuses, inputTypes, rngSources, videoModels } from "../../src/model/hardware.ts";
import { networkProtocols } from "../../src/model/network-source.ts";
import { validateXml } from "../../src/xml/validate.ts";
import { parseDomain } from "../../src/model/domain-parse.ts";

const page = readFileSync(new URL("../../docs/reference/xml-domain.md", import.meta.url), "utf8");
const examples = [...page.matchAll(/```xml\n(.*?)```/gs)].map(([, xml = ""]) => xml);

test("the examples of the reference are read, and written valid by our schema", () => {
  const domains = examples.filter((xml) => xml.startsWith("<domain ")).map((xml) => parseDomain(xml));
  assert.equal(domains.length, 2);
  for (const domain of domains) validateXml(formatDomain(domain), "domain");
});

test("the reference names every network model, protocol and device model", () => {
  const words = [...interfaceModels, ...networkProtocols, ...inputTypes, ...inputBuses, ...videoModels, ...rngSources];
  for (const word of words) assert.ok(page.includes(`\`${word}\``), word);
});
