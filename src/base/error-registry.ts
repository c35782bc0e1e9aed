/**
 * Every error that qmirror reports: message template, HTTP status, libvirt's error number (virErrorNumber), exit code of the
 * CLI, and what to do next. `{name}` in a template is a required field of the error.
 */
export interface ErrorEntry {
  readonly message: string;
  readonly http: number;
  readonly libvirt: number;
  readonly exit: number;
  readonly next?: string;
}

export const errorRegistry = {
  // Ours, or not classified further
  QM_INTERNAL: { message: "internal error: {reason}", http: 500, libvirt: 1, exit: 1 },
  QM_INVALID: { message: "invalid argument: {reason}", http: 400, libvirt: 8, exit: 2 },
  QM_CANCELLED: { message: "{what} was cancelled", http: 409, libvirt: 78, exit: 130 },
  QM_TIMEOUT: { message: "{what} did not finish within {timeoutMs} ms", http: 504, libvirt: 68, exit: 1 },

  QM_NO_ROUTE: { message: "there is no {method} {path}", http: 404, libvirt: 3, exit: 1 },
  QM_BODY_TOO_LARGE: {
    message: "request body exceeds the limit of {limitBytes} bytes",
    http: 413,
    libvirt: 8,
    exit: 1,
  },
  QM_STREAM_SLOW: {
    message: "this client reads too slowly: more than {limitBytes} bytes were waiting for it",
    http: 503,
    libvirt: 1,
    exit: 1,
    next: "`since` with the last number that was read goes on from there",
  },

  // XML and the model
  QM_XML_MALFORMED: { message: "XML is not well-formed: {reason}", http: 400, libvirt: 27, exit: 2 },
  QM_XML_TOO_LARGE: {
    message: "XML document of {sizeBytes} bytes exceeds the limit of {limitBytes} bytes",
    http: 413,
    libvirt: 27,
    exit: 2,
  },
  QM_XML_FORBIDDEN: { message: "XML contains {what}, which is not accepted", http: 400, libvirt: 27, exit: 2 },
  QM_XML_INVALID: { message: "{element}: {reason}", http: 400, libvirt: 27, exit: 2 },
  QM_XML_UNSUPPORTED: { message: "<{element}> is not supported{detail}", http: 400, libvirt: 67, exit: 2 },

  // Domains
  QM_NO_DOMAIN: {
    message: "no domain with matching name or uuid '{domain}'",
    http: 404,
    libvirt: 42,
    exit: 1,
    next: "`qmirror list --all` shows the domains that qmirror knows",
  },
  QM_DOMAIN_EXISTS: { message: "domain '{domain}' already exists with uuid {uuid}", http: 409, libvirt: 9, exit: 1 },
  QM_DOMAIN_NOT_RUNNING: {
    message: "domain '{domain}' is not running",
    http: 409,
    libvirt: 55,
    exit: 1,
    next: "`qmirror start {domain}` starts it",
  },
  QM_DOMAIN_RUNNING: { message: "domain '{domain}' is already running", http: 409, libvirt: 55, exit: 1 },
  QM_DOMAIN_ACTIVE: {
    message: "domain '{domain}' is running: {what} is not possible",
    http: 409,
    libvirt: 55,
    exit: 1,
    next: "`qmirror shutdown {domain}` or `qmirror destroy {domain}` ends it",
  },
  QM_DOMAIN_BUSY: {
    message: "domain '{domain}' is busy: {operation}",
    http: 409,
    libvirt: 78,
    exit: 1,
    next: "`qmirror blockjob {domain}` shows it",
  },
  QM_RECOVERY_NEEDED: {
    message: "domain '{domain}' has to be recovered first: {reason}",
    http: 409,
    libvirt: 55,
    exit: 1,
    next: "`qmirror recover {domain}` shows why, `qmirror recover {domain} --apply` tries again",
  },
  QM_DOMAIN_MIRRORED: {
    message: "domain '{domain}' has the mirrored snapshot '{snapshot}': {what} is not possible",
    http: 409,
    libvirt: 55,
    exit: 1,
    next: "end it with `qmirror snapshot-delete {domain} {snapshot} --mirror-pivot` or `--mirror-abort`",
  },
  QM_BLOCK_COPY: {
    message: "disk '{disk}' of domain '{domain}' is being copied to {path}: {what} is not possible",
    http: 409,
    libvirt: 55,
    exit: 1,
    next: "end the copy with `qmirror blockjob {domain} {disk} --pivot` or `--abort`",
  },
  QM_NO_BLOCK_JOB: {
    message: "nothing is done to disk '{disk}' of domain '{domain}'",
    http: 409,
    libvirt: 55,
    exit: 1,
    next: "`qmirror blockjob {domain}` shows what is under way",
  },
  QM_DOMAIN_HAS_SNAPSHOTS: {
    message: "domain '{domain}' has {snapshots} snapshot(s)",
    http: 409,
    libvirt: 55,
    exit: 1,
    next: "`qmirror undefine {domain} --snapshots-metadata` forgets them; their images stay",
  },
  QM_NO_DISK: {
    message: "domain '{domain}' has no disk '{disk}'",
    http: 404,
    libvirt: 8,
    exit: 1,
    next: "its disks are: {disks}",
  },

  // Snapshots
  QM_NO_SNAPSHOT: {
    message: "domain '{domain}' has no snapshot '{snapshot}'",
    http: 404,
    libvirt: 72,
    exit: 1,
    next: "`qmirror snapshot-list {domain}` shows its snapshots",
  },
  QM_SNAPSHOT_EXISTS: {
    message: "domain '{domain}' already has a snapshot '{snapshot}'",
    http: 409,
    libvirt: 55,
    exit: 1,
    next: "choose another name, or delete that one with `qmirror snapshot-delete {domain} {snapshot}`",
  },
  QM_NO_CURRENT_SNAPSHOT: {
    message: "domain '{domain}' has no current snapshot",
    http: 404,
    libvirt: 72,
    exit: 1,
  },
  QM_SNAPSHOT_DELETING: {
    message:
      "deleting snapshot '{snapshot}' of domain '{domain}' has begun and was interrupted: {what} is not possible",
    http: 409,
    libvirt: 55,
    exit: 1,
    next: "`qmirror snapshot-delete {domain} {snapshot}` finishes it",
  },
  QM_NO_PARENT_SNAPSHOT: { message: "snapshot '{snapshot}' has no parent", http: 404, libvirt: 72, exit: 1 },
  QM_SNAPSHOT_TREE: { message: "snapshot '{snapshot}': {reason}", http: 409, libvirt: 55, exit: 1 },
  QM_SNAPSHOT_NEEDS_IMAGE: {
    message: "disk '{disk}': {path} is needed by {user}: {what} is not possible",
    http: 409,
    libvirt: 55,
    exit: 1,
    next: "nothing was changed; delete what needs it first",
  },
  QM_REVERT_RISKY: {
    message: "reverting to snapshot '{snapshot}' is refused: {reason}",
    http: 409,
    libvirt: 93,
    exit: 1,
    next: "`--force` does it all the same",
  },
  QM_MEMORY_FILE: { message: "{path} does not fit: {reason}", http: 409, libvirt: 55, exit: 1 },
  QM_SNAPSHOT_NOT_MIRRORED: {
    message: "snapshot '{snapshot}' of domain '{domain}' is not mirrored",
    http: 409,
    libvirt: 55,
    exit: 1,
  },
  QM_MIRROR_NOT_READY: {
    message: "mirror of disk '{disk}' is not ready: {state}",
    http: 409,
    libvirt: 55,
    exit: 1,
    next: "nothing was changed; wait until `qmirror blockjob DOMAIN` shows every mirror ready",
  },
  QM_MIRROR_BROKEN: {
    message: "mirror of disk '{disk}' is broken: {reason}",
    http: 409,
    libvirt: 55,
    exit: 1,
    next: "the guest goes on on its source; end the snapshot with --mirror-abort",
  },

  // Images and files
  QM_FILE_EXISTS: {
    message: "disk '{disk}': {path} already exists and is not empty",
    http: 409,
    libvirt: 55,
    exit: 1,
    next: "choose another file; --reuse-external, where a command has it, uses this one",
  },
  QM_NO_FILE: { message: "disk '{disk}': {path} does not exist", http: 404, libvirt: 38, exit: 1 },
  QM_NO_DIRECTORY: {
    message: "directory {path} does not exist or is not a directory",
    http: 400,
    libvirt: 38,
    exit: 1,
    next: "create it, then try again; nothing was changed",
  },
  QM_PATH_FORBIDDEN: { message: "{path} is outside the storage roots: {reason}", http: 403, libvirt: 88, exit: 1 },
  QM_SAME_FILE: { message: "disk '{disk}': {path} is already used by {user}", http: 409, libvirt: 55, exit: 1 },
  QM_NO_SPACE: {
    message: "{path} has {availableBytes} bytes free, the copy needs {neededBytes}",
    http: 507,
    libvirt: 38,
    exit: 1,
    next: "free space or choose another target; nothing was changed",
  },
  QM_TARGET_FULL: {
    message: "disk '{disk}': no space left for {path}: {availableBytes} bytes are free in its file system ({reason})",
    http: 507,
    libvirt: 38,
    exit: 1,
    next: "free space or choose another target, then try again",
  },
  QM_IMAGE_FORMAT: { message: "disk '{disk}': {path} is not {format}: {reason}", http: 400, libvirt: 55, exit: 1 },
  QM_CHAIN_BROKEN: {
    message: "disk '{disk}': backing chain is broken at {path}: {reason}",
    http: 409,
    libvirt: 55,
    exit: 1,
  },
  QM_IMAGE_TOOL: { message: "{tool} failed on {path}: {reason}", http: 500, libvirt: 38, exit: 1 },
  QM_VERIFY_FAILED: {
    message: "disk '{disk}': the copy differs from its source: {reason}",
    http: 500,
    libvirt: 38,
    exit: 1,
  },
  QM_IO: { message: "{what} {path} failed: {reason}", http: 500, libvirt: 38, exit: 1 },

  // QEMU and QMP
  QM_QMP_COMMAND: { message: "QEMU refused {command}: {reason}", http: 500, libvirt: 1, exit: 1 },
  QM_QMP_STATE: { message: "QMP connection is {actual}, but {required} is required", http: 500, libvirt: 1, exit: 1 },
  QM_QMP_CONNECT: { message: "cannot connect to the monitor {path}: {reason}", http: 503, libvirt: 38, exit: 1 },
  QM_QMP_LOST: {
    message: "connection to QEMU was lost while {command} was in flight: its outcome is unknown",
    http: 503,
    libvirt: 38,
    exit: 1,
  },
  QM_QMP_PROTOCOL: {
    message: "QEMU's monitor sent something that is not QMP: {reason}",
    http: 502,
    libvirt: 1,
    exit: 1,
  },
  QM_QMP_OVERFLOW: {
    message: "event listener fell behind: more than {limit} events are waiting",
    http: 500,
    libvirt: 1,
    exit: 1,
  },
  QM_QEMU_TOO_OLD: { message: "this QEMU lacks {missing}", http: 501, libvirt: 3, exit: 1 },
  QM_QEMU_START: { message: "QEMU for domain '{domain}' did not start: {reason}", http: 500, libvirt: 1, exit: 1 },
  QM_QEMU_GONE: { message: "QEMU of domain '{domain}' is gone", http: 409, libvirt: 55, exit: 1 },
  QM_AGENT: { message: "guest agent of domain '{domain}': {reason}", http: 503, libvirt: 86, exit: 1 },
  QM_JOB_FAILED: { message: "disk '{disk}': {job} failed: {reason}", http: 500, libvirt: 1, exit: 1 },
  QM_PIVOT_REFUSED: {
    message: "pivot given up: {reason}; every disk stays on its source",
    http: 409,
    libvirt: 1,
    exit: 1,
  },
  QM_PIVOT_SPLIT: {
    message: "pivot was decided, but these disks are still on their source: {disks} ({reason})",
    http: 500,
    libvirt: 1,
    exit: 1,
  },

  // Operations, journal, daemon
  QM_NO_OPERATION: {
    message: "no operation '{operation}'",
    http: 404,
    libvirt: 8,
    exit: 1,
    next: "`qmirror operation-list` shows the operations",
  },
  QM_OPERATION_FAILED: { message: "{operation} failed: {reason}", http: 500, libvirt: 1, exit: 1 },
  QM_ROLLBACK: {
    message: "{reason}; and undoing it stopped: {rollback}",
    http: 500,
    libvirt: 1,
    exit: 1,
    next: "the guest goes on with all its data; `qmirror dumpxml` shows its present images",
  },
  QM_INTERRUPTED: { message: "{operation} was interrupted: {reason}", http: 500, libvirt: 1, exit: 1 },
  QM_JOURNAL: {
    message: "state file {path}: {reason}",
    http: 500,
    libvirt: 1,
    exit: 1,
    next: "`qmirror doctor` shows how things stand; docs/guide/when-things-go-wrong.md is the way back",
  },
  QM_DAEMON_UNREACHABLE: { message: "cannot reach qmirrord at {path}: {reason}", http: 503, libvirt: 38, exit: 1 },
  QM_DAEMON_RUNNING: { message: "another qmirrord (pid {pid}) uses {path}", http: 409, libvirt: 1, exit: 1 },
  QM_UNSUPPORTED: { message: "{what} is not supported{detail}", http: 501, libvirt: 3, exit: 1 },

  // libvirt's protocol
  QM_REMOTE_PROTOCOL: { message: "this is not libvirt's protocol: {reason}", http: 400, libvirt: 39, exit: 1 },
  QM_NO_JOB: { message: "no operation is under way on domain '{domain}'", http: 409, libvirt: 55, exit: 1 },
  QM_READ_ONLY: {
    message: "the connection is read-only: {procedure} is not possible",
    http: 403,
    libvirt: 29,
    exit: 1,
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorRegistry;

type Placeholders<S extends string> = S extends `${string}{${infer Name}}${infer Rest}`
  ? Name | Placeholders<Rest>
  : never;
type NextOf<C extends ErrorCode> = (typeof errorRegistry)[C] extends { next: infer N extends string } ? N : "";

/** The fields that an error of this code must carry: one for each placeholder of its message and its advice; more are welcome. */
export type ErrorFields<C extends ErrorCode> = {
  [K in Placeholders<(typeof errorRegistry)[C]["message"]> | Placeholders<NextOf<C>>]: string | number;
} & Readonly<Record<string, unknown>>;
