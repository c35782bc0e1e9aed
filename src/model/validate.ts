/** The schemas of `schemas/`, for documents that users want checked before they are used. */
export { validateXml, type SchemaName } from "../xml/validate.ts";
