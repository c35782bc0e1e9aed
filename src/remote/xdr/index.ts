export * from "./codec.ts";
export { malformed, XdrReader } from "./reader.ts";
export { XdrWriter } from "./writer.ts";
