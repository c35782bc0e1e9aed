/** The terminal, environment and signals as the commands see them, so that tests can bring their own. */
import { fileURLToPath } from "node:url";

export interface TextSink {
  write(text: string): void;
  readonly isTty: boolean;
  /** Width of the terminal. */
  readonly columns: number;
}

export interface CliIo {
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Program of the daemon that is started when none runs. */
  readonly daemonProgram: string;
  /** Milliseconds of a clock that only goes forward. */
  nowMs(): number;
  /** Calls `handler` for Ctrl-C in place of its usual effect, until the returned function is called. */
  onInterrupt(handler: () => void): () => void;
  /** Asks a person, and returns what they type; undefined at the end of input. Absent when nobody is there to answer. */
  ask?(question: string): Promise<string | undefined>;
}

/** The real ones of this process. */
export function processIo(): CliIo {
  return {
    stdout: toSink(process.stdout),
    stderr: toSink(process.stderr),
    env: process.env,
    cwd: process.cwd(),
    daemonProgram: fileURLToPath(
      new URL(`../daemon/main${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url),
    ),
    nowMs: () => performance.now(),
    onInterrupt(handler) {
      process.on("SIGINT", handler);
      return () => void process.off("SIGINT", handler);
    },
    ...(process.stdin.isTTY && process.stderr.isTTY ? { ask: askOnTerminal } : {}),
  };
}

async function askOnTerminal(question: string): Promise<string | undefined> {
  const { createInterface } = await import("node:readline");
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  return new Promise((resolve) => {
    terminal.once("close", () => resolve(undefined));
    terminal.question(question, (answer) => {
      resolve(answer);
      terminal.close();
    });
  });
}

function toSink(stream: NodeJS.WriteStream): TextSink {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    // The reader of a pipe went away (`qmirror list | head -1`): there is nobody left to write to.
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  return {
    write: (text) => void stream.write(text),
    get isTty() {
      return stream.isTTY === true;
    },
    get columns() {
      return stream.columns ?? 80;
    },
  };
}
