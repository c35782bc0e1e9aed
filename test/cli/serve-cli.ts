/** The command line against a fake facade that is served over HTTP; relative paths are those of `directory`. */
import { serve } from "../http/serve.ts";
import { createIo, runCli } from "./run-cli.ts";

/** `change` is for the terminal of every command. */
export async function serveCli(change: Parameters<typeof createIo>[0] = {}) {
  const s = await serve();
  const cli = (...argv: string[]) => runCli(["-c", s.socketPath, ...argv], createIo({ cwd: s.directory, ...change }));
  return { ...s, cli, [Symbol.asyncDispose]: () => s[Symbol.asyncDispose]() };
}
