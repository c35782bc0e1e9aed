/**
 * One daemon for each state directory. The lock is an exclusive SQLite transaction on a file of its own: the kernel drops it
 * when the process ends, however it ends, so it is never stale. (Node offers no other file lock.)
 */
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { errorText, QmError } from "../base/errors.ts";

/** Covers a predecessor that is just ending. */
const waitMs = 1000;
const sqliteBusy = 5;

export interface DaemonLock {
  release(): void;
}

/**
 * Locks `stateDir` and writes this process's id beside the lock. Throws `QM_DAEMON_RUNNING` with the holder's pid, or `QM_IO`.
 */
export function lockStateDir(stateDir: string): DaemonLock {
  const pidPath = join(stateDir, "daemon.pid");
  const database = openDatabase(join(stateDir, "lock.db"));
  try {
    database.exec("BEGIN EXCLUSIVE");
    writeFileSync(pidPath, `${process.pid}\n`, { mode: 0o600 });
  } catch (error) {
    database.close();
    if (isBusy(error))
      throw new QmError("QM_DAEMON_RUNNING", { pid: readPid(pidPath), path: stateDir }, { cause: error });
    throw new QmError("QM_IO", { what: "locking", path: stateDir, reason: errorText(error) }, { cause: error });
  }
  return {
    release() {
      rmSync(pidPath, { force: true });
      database.close();
    },
  };
}

function openDatabase(path: string): DatabaseSync {
  try {
    // For the owner alone, whatever the directory's mode: who can open it can lock the daemon out. A file that exists is not opened
    // here: closing it again would drop a lock that this process holds. Earlier versions left it to the umask.
    if (!existsSync(path)) writeFileSync(path, "", { flag: "wx", mode: 0o600 });
    chmodSync(path, 0o600);
    return new DatabaseSync(path, { timeout: waitMs });
  } catch (error) {
    throw new QmError("QM_IO", { what: "opening", path, reason: errorText(error) }, { cause: error });
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && "errcode" in error && error.errcode === sqliteBusy;
}

/** For the message only: the lock itself does not depend on it. */
function readPid(path: string): string {
  try {
    return readFileSync(path, "utf8").trim() || "unknown";
  } catch {
    return "unknown";
  }
}
