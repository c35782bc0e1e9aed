/** Asks the compiler which file imports which: it alone resolves as Node does and sees imports of types too. */
import { spawnSync } from "node:child_process";

export interface Import {
  /** Path from the project's root. */
  readonly from: string;
  /** Path from the project's root, or `npm:NAME`. */
  readonly to: string;
}

export interface ImportGraph {
  readonly files: readonly string[];
  readonly imports: readonly Import[];
}

/** All files of the `tsconfig.json` in `root` and what they import. Throws an `Error` when tsc's words are not understood. */
export function readImports(root: string, tsc: string): ImportGraph {
  const { stdout, error } = spawnSync(tsc, ["-p", ".", "--noEmit", "--explainFiles", "--pretty", "false"], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error !== undefined) throw error;
  return parseExplanation(stdout);
}

const reasonPattern = /^ +Imported via (.+?) from file '(.+?)'(?: |$)/;

function parseExplanation(text: string): ImportGraph {
  const files: string[] = [];
  const imports: Import[] = [];
  let current = "";
  for (const line of text.split("\n")) {
    // A type error is tsc's to report, in a check of its own
    if (/^\S.*\(\d+,\d+\): error /.test(line)) current = "";
    else if (/^\S/.test(line)) {
      current = line;
      if (!line.includes("node_modules/")) files.push(line);
    } else if (/^ +Imported via /.test(line)) {
      const [, specifier = "", from = ""] = reasonPattern.exec(line) ?? [];
      if (specifier === "") throw new Error(`tsc --explainFiles says something new: ${line}`);
      if (from.includes("node_modules/")) continue;
      imports.push({ from, to: current.includes("node_modules/") ? packageOf(specifier) : current });
    }
  }
  if (imports.length === 0) throw new Error("tsc --explainFiles shows no imports");
  return { files, imports };
}

/** `"@scope/name/deep"` with its quotes to `npm:@scope/name`. */
function packageOf(specifier: string): string {
  const parts = specifier.replaceAll(/^["'`]|["'`]$/g, "").split("/");
  return `npm:${parts.slice(0, parts[0]?.startsWith("@") === true ? 2 : 1).join("/")}`;
}
