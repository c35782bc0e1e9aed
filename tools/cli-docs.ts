/**
 * Writes `docs/reference/cli.md` and the man pages from the command line's declarations.
 *   node tools/cli-docs.ts
 *   node tools/cli-docs.ts --check   writes nothing; exit code 1 when a file is not what the declarations give
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { format, resolveConfig } from "prettier";
import { collectReference } from "./cli-docs/collect.ts";
import { formatClientPage, formatDaemonPage } from "./cli-docs/man.ts";
import { formatMarkdown } from "./cli-docs/markdown.ts";

const reference = await collectReference();
const markdownPath = "docs/reference/cli.md";
const texts = {
  [markdownPath]: await format(formatMarkdown(reference), {
    ...(await resolveConfig(toFullPath(markdownPath))),
    filepath: markdownPath,
  }),
  "docs/man/qmirror.1": formatClientPage(reference),
  "docs/man/qmirrord.8": formatDaemonPage(reference),
};

for (const [path, text] of Object.entries(texts)) {
  if (!process.argv.includes("--check")) writeFileSync(toFullPath(path), text);
  else if (readFileSync(toFullPath(path), "utf8") !== text) {
    console.error(`${path} is not what the declarations give: run \`node tools/cli-docs.ts\``);
    process.exitCode = 1;
  }
}

function toFullPath(path: string): string {
  return fileURLToPath(new URL(`../${path}`, import.meta.url));
}
