import type { Command } from "commander";
import { asQmError } from "../../base/errors.ts";
import { ApiError } from "../../client/index.ts";
import { findSnapshotName, snapshotArgument } from "../choose-snapshot.ts";
import { usageError, type CliContext } from "../context.ts";
import { startEdit, type EditedText } from "../edit-text.ts";
import { printError } from "../output.ts";
import { toSafeJson } from "../safe-text.ts";
import { readSnapshotName } from "../snapshot-name.ts";
import type { OptionRules } from "../option-rules.ts";

interface Options {
  readonly current?: true;
  readonly rename?: true;
  readonly clone?: true;
}

export const description = `Opens the snapshot's XML in the editor that $VISUAL or $EDITOR names (otherwise vi), and records what comes back, as snapshot-create
--redefine does. No disk is touched. A text that is refused can be edited again on a terminal; otherwise it is kept, and the message says where.
With both SNAPSHOTNAME and --current, the edited snapshot becomes the current one.`;

export const rules: OptionRules = {
  oneOf: [[snapshotArgument, "--current"]],
  exclusive: [["--rename", "--clone"]],
};

export function configure(command: Command, context: CliContext): void {
  command
    .argument("<domain>", "name or uuid")
    .argument("[snapshotname]", "the snapshot")
    .option("--current", "the current snapshot; with SNAPSHOTNAME: make that one current")
    .option("--rename", "the name may change")
    .option("--clone", "the name may change: the old record stays beside the new one")
    .action(async (domain: string, given: string | undefined, options: Options) => {
      const name = await findSnapshotName(context, domain, given);
      const makesCurrent = Boolean(given) && options.current === true;
      await editSnapshot(context, domain, name, { ...options, makesCurrent });
    });
}

async function editSnapshot(
  context: CliContext,
  domain: string,
  name: string,
  options: Options & { readonly makesCurrent: boolean },
): Promise<void> {
  const before = await context.client.snapshotXml(domain, name);
  const text = startEdit(context.io, "snapshot.xml", before);
  let after = before;
  for (;;) {
    try {
      after = await text.edit();
      if (after === before) {
        tell(context, { snapshot: name, changed: false }, `Snapshot ${name} XML configuration not changed.`);
      } else await recordEdit(context, domain, name, after, options);
      text.remove();
      return;
    } catch (error) {
      if (after === before) {
        text.remove();
        throw error;
      }
      if (!(await wantsAnotherTry(context, error, text))) throw error;
    }
  }
}

async function wantsAnotherTry({ io, json }: CliContext, error: unknown, { path }: EditedText): Promise<boolean> {
  if (!json && io.ask !== undefined) {
    printError(io, (error instanceof ApiError ? error : asQmError(error)).toJSON(), false);
    const answer = await io.ask("Edit it again? [Y/n] ");
    if (answer !== undefined && /^\s*(y|yes)?\s*$/i.test(answer)) return true;
  }
  io.stderr.write(json ? `${toSafeJson({ kept: path })}\n` : `the edited text is kept in ${path}\n`);
  return false;
}

/** Records the new text; a rename then forgets the old name: if that fails, both are there, with the same images. */
async function recordEdit(
  context: CliContext,
  domain: string,
  name: string,
  xml: string,
  { rename, clone, makesCurrent }: Options & { readonly makesCurrent: boolean },
): Promise<void> {
  const { client } = context;
  const newName = readSnapshotName(xml) ?? name;
  const isRenamed = newName !== name;
  if (isRenamed && rename !== true && clone !== true) {
    throw usageError(`the name '${name}' became '${newName}': --rename or --clone allows that`);
  }
  const isMoved = isRenamed && rename === true;
  const current = makesCurrent || (isMoved && (await client.getSnapshot(domain, name)).current);
  const created = await client.createSnapshot(domain, { xml, redefine: true, ...(current ? { current } : {}) });
  if (isMoved) await client.deleteSnapshot(domain, name, { metadataOnly: true });
  const done = isMoved ? `renamed to ${newName}` : isRenamed ? `cloned to ${newName}` : "edited";
  tell(context, created, `Snapshot ${name} ${done}.`);
}

function tell({ json, out }: CliContext, value: unknown, line: string): void {
  if (json) out.json(value);
  else out.line(line);
}
