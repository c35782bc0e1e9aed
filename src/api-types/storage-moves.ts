export interface MigrateBody {
  /** Absolute path of an existing directory. */
  readonly to: string;
  /** Targets; absent: every writable disk. */
  readonly disks?: readonly string[];
  readonly flatten?: boolean;
  readonly verify?: boolean;
  readonly bytesPerS?: number;
  readonly keepSource?: boolean;
}

export interface CloneBody {
  readonly to: string;
  readonly disks?: readonly string[];
  readonly flatten?: boolean;
  readonly verify?: boolean;
  readonly bytesPerS?: number;
}
