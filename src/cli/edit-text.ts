/** A text in the user's editor. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorText, QmError } from "../base/errors.ts";
import type { CliIo } from "./io.ts";

export interface EditedText {
  /** Where the text is: mode 0600, in a directory of its own. */
  readonly path: string;
  /** Opens the editor and returns the text as it is when the editor has ended. Rejects with `QM_IO` when that failed. */
  edit(): Promise<string>;
  /** Removes the text. */
  remove(): void;
}

/** Writes `text` to a new file that only this user can read. */
export function startEdit(io: CliIo, fileName: string, text: string): EditedText {
  const directory = mkdtempSync(join(tmpdir(), "qmirror-edit-"));
  const path = join(directory, fileName);
  writeFileSync(path, text, { mode: 0o600, flag: "wx" });
  return {
    path,
    async edit() {
      await runEditor(io, path);
      return readFileSync(path, "utf8");
    },
    remove: () => rmSync(directory, { recursive: true }),
  };
}

function runEditor(io: CliIo, path: string): Promise<void> {
  const [program = "vi", ...args] = splitCommand(io.env["VISUAL"] || io.env["EDITOR"] || "vi");
  return new Promise((resolve, reject) => {
    const fail = (reason: string, cause?: unknown) =>
      reject(new QmError("QM_IO", { what: `editing with ${program}`, path, reason }, { cause }));
    const editor = spawn(program, [...args, path], { cwd: io.cwd, env: io.env, stdio: "inherit" });
    editor.once("error", (error) => fail(errorText(error), error));
    editor.once("exit", (code, signal) => {
      if (code === 0) resolve();
      else fail(signal === null ? `exit code ${code}` : `killed by ${signal}`);
    });
  });
}

/** Words of `code --wait`; quotes keep blanks together. No shell reads it. */
function splitCommand(command: string): string[] {
  return [...command.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, double, single, bare]) => {
    return double ?? single ?? bare ?? "";
  });
}
