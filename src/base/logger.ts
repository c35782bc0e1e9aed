/** The logger that rooms below the daemon write to: pino's shape, without depending on pino. */
export interface Logger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
