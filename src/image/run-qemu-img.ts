/** Runs one qemu-img process: an argument vector, no shell, its words kept. */
import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { errorText, QmError } from "../base/errors.ts";

const stdoutLimitBytes = 16 * 1024 * 1024;
const stderrLimitBytes = 64 * 1024;

export interface RunOptions {
  /** The image that an error names. */
  readonly path: string;
  readonly signal?: AbortSignal;
  /** Exit codes that are answers and no failures; default `[0]`. */
  readonly okExitCodes?: readonly number[];
  /** Receives standard output as it comes; it is then not kept. */
  readonly onStdout?: (text: string) => void;
}

export interface RunResult {
  readonly exitCode: number;
  readonly stdout: string;
  /** Its last 64 KiB. */
  readonly stderr: string;
}

/**
 * Runs `qemu-img ARGS` and waits for its end. The process dies with this one, SIGKILL included, where `setpriv`
 * (util-linux) is installed; elsewhere a killed daemon leaves it to finish by itself.
 *
 * Errors: `QM_CANCELLED` after `signal` aborted (SIGTERM was sent, and the process has ended);
 * `QM_IMAGE_TOOL` with qemu-img's own words. After either, no process of this call is left.
 */
export async function runQemuImg(args: readonly string[], options: RunOptions): Promise<RunResult> {
  return await runTool(["qemu-img", ...args], options);
}

/** As {@link runQemuImg}, for another program. */
export async function runTool(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
  const { path, signal, okExitCodes = [0], onStdout } = options;
  const tool = argv.slice(0, 2).join(" ");
  if (signal?.aborted) throw new QmError("QM_CANCELLED", { what: tool });
  const [command, rest] = boundToParent(argv);
  const child = spawn(command, rest, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, LC_ALL: "C" } });
  const terminate = () => void child.kill("SIGTERM");
  signal?.addEventListener("abort", terminate, { once: true });

  let stdout = "";
  let stderr = "";
  let thrown: unknown;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    try {
      if (onStdout !== undefined) return onStdout(text);
      stdout += text;
      if (stdout.length > stdoutLimitBytes) throw new Error(`more than ${stdoutLimitBytes} bytes of output`);
    } catch (error) {
      thrown ??= error;
      terminate();
    }
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-stderrLimitBytes);
  });

  const { exitCode, end } = await new Promise<{ exitCode: number; end: string }>((resolve) => {
    child.once("error", (error) => {
      thrown ??= error;
      if (child.pid === undefined) resolve({ exitCode: -1, end: errorText(error) });
    });
    child.once("close", (code, killedBy) => {
      resolve({ exitCode: code ?? -1, end: killedBy === null ? `exit code ${code}` : `killed by ${killedBy}` });
    });
  });
  signal?.removeEventListener("abort", terminate);
  if (thrown === undefined && okExitCodes.includes(exitCode)) return { exitCode, stdout, stderr };
  if (signal?.aborted) throw new QmError("QM_CANCELLED", { what: tool, path });
  const reason = thrown === undefined ? ownWords(stderr) || end : errorText(thrown);
  throw new QmError("QM_IMAGE_TOOL", { tool, path, reason, exitCode, stderr }, { cause: thrown });
}

/** Drops the program's name before each line. */
function ownWords(stderr: string): string {
  return stderr.trim().replaceAll(/^(?:qemu-img|cp): /gm, "");
}

let setprivFound: boolean | undefined;

/**
 * The parent-death signal is tied to the thread that forks: that is Node's main thread, or a worker that must then outlive the
 * call. A parent that dies before setpriv has asked for the signal is not noticed.
 */
function boundToParent([command, ...args]: readonly [string, ...string[]]): [command: string, args: string[]] {
  setprivFound ??= isOnPath("setpriv");
  return setprivFound ? ["setpriv", ["--pdeathsig", "KILL", "--", command, ...args]] : [command, args];
}

function isOnPath(name: string): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
