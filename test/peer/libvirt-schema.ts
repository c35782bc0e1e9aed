/** The schemas that libvirt itself installs. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { RelaxNGValidator, XmlDocument } from "libxml2-wasm";
import { xmlRegisterFsInputProviders } from "libxml2-wasm/lib/nodejs.mjs";

const folder = "/usr/share/libvirt/schemas";

/** A check of a document against `NAME.rng` of libvirt's, which throws what the validator says. Kept for the life of the process. */
export function loadLibvirtSchema(name: "domain" | "domainsnapshot" | "capability"): (xml: string) => void {
  const file = `${folder}/${name}.rng`;
  assert.ok(existsSync(file), `${file} is not there: install Debian's package libvirt0 (apt-get install libvirt0)`);
  assert.ok(xmlRegisterFsInputProviders(), "libxml2 can read the files that a schema includes");
  const schema = XmlDocument.fromBuffer(readFileSync(file), { url: file });
  const validator = RelaxNGValidator.fromDoc(schema);
  return (xml) => {
    const document = XmlDocument.fromString(xml);
    try {
      validator.validate(document);
    } finally {
      document.dispose();
    }
  };
}
