export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
  /** What to do next. */
  readonly next?: string;
}
