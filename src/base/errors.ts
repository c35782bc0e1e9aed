/**
 * The one error class of qmirror. `code` is stable and listed in {@link errorRegistry}; `fields` carry what the
 * message was made of, so that programs need not parse it; `cause` keeps the first error, with QEMU's own words.
 */
import { errorRegistry, type ErrorCode, type ErrorEntry, type ErrorFields } from "./error-registry.ts";

export interface ErrorJson {
  code: ErrorCode;
  message: string;
  fields: Record<string, unknown>;
  next?: string;
}

export class QmError<C extends ErrorCode = ErrorCode> extends Error {
  readonly code: C;
  readonly fields: ErrorFields<C>;

  constructor(code: C, fields: ErrorFields<C>, options?: { cause?: unknown }) {
    super(fill(errorRegistry[code].message, fields), options);
    this.name = "QmError";
    this.code = code;
    this.fields = fields;
  }

  /** What the reader should do next, where the registry knows it. */
  get next(): string | undefined {
    const entry: ErrorEntry = errorRegistry[this.code];
    return entry.next === undefined ? undefined : fill(entry.next, this.fields);
  }

  toJSON(): ErrorJson {
    const next = this.next;
    return { code: this.code, message: this.message, fields: this.fields, ...(next === undefined ? {} : { next }) };
  }
}

export function isQmError<C extends ErrorCode>(error: unknown, code?: C): error is QmError<C> {
  return error instanceof QmError && (code === undefined || error.code === code);
}

/** The text of anything that was thrown. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** `error` itself when it is ours, otherwise wrapped as `QM_INTERNAL` with the cause kept. */
export function asQmError(error: unknown): QmError {
  return error instanceof QmError ? error : new QmError("QM_INTERNAL", { reason: errorText(error) }, { cause: error });
}

function fill(template: string, fields: Record<string, unknown>): string {
  return template.replaceAll(/\{(\w+)\}/g, (_, key: string) => String(fields[key] ?? `{${key}}`));
}
