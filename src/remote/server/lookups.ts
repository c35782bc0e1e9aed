/** What procedures ask of the facade before or after their own work. */
import type { DomainView, OperationView } from "../../api-types/index.ts";
import { errorRegistry, type ErrorCode } from "../../base/error-registry.ts";
import { QmError } from "../../base/errors.ts";
import type { WireDomain } from "../protocol/index.ts";
import type { Session } from "./served.ts";

/** The domain that a client's reference is about: found by its uuid, as names change. `QM_NO_DOMAIN`. */
export async function findDomain({ facade }: Session, { uuid }: WireDomain): Promise<DomainView> {
  return await facade.getDomain(uuid);
}

/** Waits until the operation has ended, and throws its error unless it succeeded. */
export async function finishOperation({ facade, signal }: Session, operation: OperationView): Promise<void> {
  const { state, error, kind } = await facade.waitOperation(operation.id, signal);
  if (state === "succeeded") return;
  if (error === undefined || !isErrorCode(error.code)) {
    throw new QmError("QM_OPERATION_FAILED", { operation: kind, reason: error?.message ?? `it was ${state}` });
  }
  // Its fields made the message once already.
  throw new QmError(error.code, error.fields as QmError["fields"]);
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorRegistry, code);
}
