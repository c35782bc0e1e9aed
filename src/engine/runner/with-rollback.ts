import { QmError, asQmError } from "../../base/errors.ts";

/** The error of an operation whose undoing ended with `rollback`; absent: everything is as it was before. */
export function withRollback(error: unknown, rollback: Error | undefined): QmError {
  const first = asQmError(error);
  if (rollback === undefined) return first;
  return new QmError(
    "QM_ROLLBACK",
    { reason: first.message, rollback: rollback.message, failed: first.code },
    { cause: new AggregateError([first, rollback], "operation and its rollback") },
  );
}
