/** The command line in this process, with a terminal that is a pair of strings. */
import { fileURLToPath } from "node:url";
import type { CliIo, TextSink } from "../../src/cli/io.ts";
import { run } from "../../src/cli/main.ts";

export interface FakeIo extends CliIo {
  readonly written: { stdout: string; stderr: string };
  /** Presses Ctrl-C. */
  interrupt(): void;
}

export function createIo(change: Partial<CliIo> & { isTty?: boolean; columns?: number } = {}): FakeIo {
  const written = { stdout: "", stderr: "" };
  const handlers = new Set<() => void>();
  const sink = (name: "stdout" | "stderr"): TextSink => ({
    write: (text) => void (written[name] += text),
    isTty: change.isTty ?? false,
    columns: change.columns ?? 100,
  });
  return {
    written,
    stdout: sink("stdout"),
    stderr: sink("stderr"),
    env: {},
    cwd: "/work dir",
    daemonProgram: fileURLToPath(new URL("../daemon/fake-daemon.ts", import.meta.url)),
    nowMs: () => 0,
    onInterrupt(handler) {
      handlers.add(handler);
      return () => void handlers.delete(handler);
    },
    interrupt() {
      for (const handler of handlers) handler();
    },
    ...change,
  };
}

export async function runCli(argv: readonly string[], io: FakeIo = createIo()) {
  const code = await run(argv, io);
  return { code, ...io.written };
}
