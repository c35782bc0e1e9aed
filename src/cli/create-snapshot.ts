/** What `snapshot-create` and `snapshot-create-as` have in common. */
import type { SnapshotCreateBody } from "../client/index.ts";
import type { CliContext } from "./context.ts";
import { waitForAnswer } from "./follow-operation.ts";

/** Asks for the snapshot, waits until it is taken and its mirrors are ready, and tells. `origin` ends the message. */
export async function createSnapshot(
  context: CliContext,
  domain: string,
  body: SnapshotCreateBody,
  origin: string,
): Promise<void> {
  const { client, out } = context;
  const created = await waitForAnswer(context, domain, (signal) => client.createSnapshot(domain, body, signal));
  if (created === undefined) return;
  if (context.json) out.json(created);
  else if (created.snapshot === undefined) out.document(created.xml);
  else {
    out.line(`Domain snapshot ${created.snapshot.name} created${origin}`);
    if (created.snapshot.mirrored) {
      const end = `qmirror snapshot-delete ${domain} ${created.snapshot.name}`;
      out.line(`Its mirrors are ready: \`${end} --mirror-pivot\` switches to them, \`--mirror-abort\` gives them up`);
    }
  }
}
