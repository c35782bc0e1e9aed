import { readFileSync } from "node:fs";
import { RelaxNGValidator, XmlDocument, XmlValidateError } from "libxml2-wasm";
import { QmError, errorText } from "../base/errors.ts";
import { parseDocument } from "./read.ts";

export type SchemaName = "domain" | "domainsnapshot";

const schemaFolder = new URL("../../schemas/", import.meta.url);

/**
 * Checks a document against `schemas/NAME.rng` (RELAX NG). The schemas describe what qmirror writes; it reads more (docs/reference/xml-domain.md).
 * Errors: those of `readXml`, and `QM_XML_INVALID` with the validator's words and `fields.line`.
 */
export function validateXml(text: string, schemaName: SchemaName): void {
  const document = parseDocument(text);
  try {
    const schema = XmlDocument.fromBuffer(readFileSync(new URL(`${schemaName}.rng`, schemaFolder)));
    try {
      const validator = RelaxNGValidator.fromDoc(schema);
      try {
        validator.validate(document);
      } finally {
        validator.dispose();
      }
    } finally {
      schema.dispose();
    }
  } catch (error) {
    if (!(error instanceof XmlValidateError)) throw error;
    const line = error.details[0]?.line;
    const reason = errorText(error).trim().replaceAll("\n", "; ");
    throw new QmError("QM_XML_INVALID", { element: `line ${line ?? "?"}`, reason, line }, { cause: error });
  } finally {
    document.dispose();
  }
}
