import { isQmError } from "../base/errors.ts";

/** For undoing: QEMU's refusal (the thing is not there, or not ours to remove) is no error, a lost connection is. */
export async function ignoreRefusal(promise: Promise<unknown>): Promise<void> {
  try {
    await promise;
  } catch (error) {
    if (!isQmError(error, "QM_QMP_COMMAND")) throw error;
  }
}
