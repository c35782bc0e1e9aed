import { randomBytes } from "node:crypto";

/** 12 hexadecimal digits: node names and job ids are made of it, and have little room. */
export function newOperationId(): string {
  return randomBytes(6).toString("hex");
}
