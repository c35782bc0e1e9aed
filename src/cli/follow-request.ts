/** The progress of an operation that the daemon answers for at its end only. */
import type { OperationKind } from "../client/index.ts";
import type { CliContext } from "./context.ts";
import { waitForAnswer } from "./follow-operation.ts";
import { createProgress } from "./progress.ts";

/**
 * `waitForAnswer`, and meanwhile the progress of the operation of this `kind` that `request` begins on the domain. The progress is
 * for the eye: where it cannot be had, the answer comes all the same.
 */
export async function waitWithProgress<T>(
  context: CliContext,
  domain: string,
  kind: OperationKind,
  request: (signal: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  const { name } = await context.client.getDomain(domain);
  const earlier = new Set((await context.client.listOperations({ domain: name })).map(({ id }) => id));
  const ended = new AbortController();
  const shown = showProgress(context, name, (id, begun) => begun === kind && !earlier.has(id), ended.signal);
  try {
    return await waitForAnswer(context, domain, request);
  } finally {
    ended.abort();
    await shown.catch(() => undefined);
  }
}

async function showProgress(
  { client, io }: CliContext,
  domain: string,
  isMeant: (id: string, kind: unknown) => boolean,
  signal: AbortSignal,
): Promise<void> {
  const progress = createProgress(io);
  try {
    // From the first event on: the operation may begin before the daemon hears of this watch.
    for await (const { type, detail } of client.watchEvents({ domain, since: 0 }, signal)) {
      const id = detail["operation"];
      if (type !== "operation" || typeof id !== "string" || !isMeant(id, detail["kind"])) continue;
      for await (const view of client.watchOperation(id, signal)) progress.update(view);
      return;
    }
  } finally {
    progress.end();
  }
}
