/** What `snapshot-create` and `snapshot-create-as` have in common. */
import type { Command } from "commander";
import type { SnapshotCreateBody } from "../client/index.ts";
import type { CliContext } from "./context.ts";
import { waitForAnswer } from "./follow-operation.ts";
import type { OptionRules } from "./option-rules.ts";
import { plainOption } from "./plain-option.ts";
import { readSnapshotName } from "./snapshot-name.ts";

export interface CreateOptions {
  readonly printXml?: true;
  readonly noMetadata?: true;
  readonly halt?: true;
  readonly diskOnly?: true;
  readonly reuseExternal?: true;
  readonly quiesce?: true;
  /** Always so. */
  readonly atomic?: true;
  readonly live?: true;
  readonly validate?: true;
}

export const createRules = {
  exclusive: [["--live", "--disk-only"]],
  requires: { "--quiesce": ["--disk-only"] },
} as const satisfies OptionRules;

/** Declares the options that both commands take. */
export function declareCreateOptions(command: Command): Command {
  return command
    .option("--print-xml", "print what would be done, and do nothing")
    .addOption(plainOption("--no-metadata", "keep no record of the snapshot: only its files stay"))
    .option("--halt", "end the domain when the snapshot is taken")
    .option("--disk-only", "keep no memory of a running domain")
    .option("--reuse-external", "use the images that are there already")
    .option("--quiesce", "freeze the guest's file systems meanwhile; needs its agent")
    .option("--atomic", "accepted for virsh's sake: always so")
    .option("--live", "save the memory while the guest runs; needs a memory file")
    .option("--validate", "check the XML against the schema first");
}

/** The part of the request that these options make. */
export function toCreateBody({ atomic: _always, ...flags }: CreateOptions): SnapshotCreateBody {
  return flags;
}

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
  const { snapshot, xml } = created;
  if (context.json) out.json(created);
  else if (body.printXml === true) out.document(xml);
  else {
    const name = snapshot?.name ?? body.name ?? readSnapshotName(xml);
    out.line(`Domain snapshot ${name} created${origin}`);
    if (snapshot?.mirrored === true) {
      const end = `qmirror snapshot-delete ${domain} ${snapshot.name}`;
      out.line(`Its mirrors are ready: \`${end} --mirror-pivot\` switches to them, \`--mirror-abort\` gives them up`);
    }
  }
}
