import { dirname } from "node:path";
import { allSettledOrFirstError } from "../../base/settle.ts";
import { syncDirectory } from "../../image/files.ts";
import { createOwnFile, removeOwnFiles } from "./own-files.ts";
import type { Step } from "./step.ts";
import { newPaths } from "./storage-plan.ts";

/** Makes the empty files of overlays and mirrors. Their names are durable then. */
export const createFiles: Step = {
  name: "create-files",
  journalled: true,
  async act({ plan, journal }) {
    const files = plan.files.filter((file) => !file.existed);
    await allSettledOrFirstError(files.map((file) => createOwnFile(journal, file)));
    const directories = new Set(files.map((file) => dirname(file.path)));
    await allSettledOrFirstError([...directories].map((directory) => syncDirectory(directory)));
  },
  async undo({ plan, journal }) {
    await removeOwnFiles(journal, newPaths(plan));
  },
};
