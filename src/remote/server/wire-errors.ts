/** Errors as libvirt's clients know them. */
import { errorRegistry } from "../../base/error-registry.ts";
import { asQmError, isQmError } from "../../base/errors.ts";
import type { WireError } from "../protocol/index.ts";

/** virErrorDomain: the remote procedure call itself, and the QEMU driver. */
const origins = { rpc: 7, qemu: 10 } as const;
const errorLevel = 2;

/** Clients show the message alone: what to do next is put into it. */
export function toWireError(error: unknown): WireError {
  const qmError = asQmError(error);
  const { code, next } = qmError;
  const message = next === undefined ? qmError.message : `${qmError.message}; ${next}`;
  return {
    code: errorRegistry[code].libvirt,
    origin: isQmError(qmError, "QM_REMOTE_PROTOCOL") ? origins.rpc : origins.qemu,
    message,
    level: errorLevel,
    domain: null,
    str1: "%s",
    str2: message,
    str3: null,
    int1: -1,
    int2: -1,
    network: null,
  };
}
