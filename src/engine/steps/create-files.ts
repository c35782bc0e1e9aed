import { dirname } from "node:path";
import { removeFile, syncDirectory } from "../../image/files.ts";
import { createLike } from "./create-like.ts";
import type { Step } from "./step.ts";

/** Makes the empty files of overlays and mirrors, readable and writable for whom the base is. Their names are durable then. */
export const createFiles: Step = {
  name: "create-files",
  journalled: true,
  async act({ plan }) {
    const files = plan.files.filter((file) => !file.existed);
    await Promise.all(files.map((file) => createLike(file)));
    const directories = new Set(files.map((file) => dirname(file.path)));
    await Promise.all([...directories].map((directory) => syncDirectory(directory)));
  },
  async undo({ plan }) {
    await Promise.all(plan.files.filter((file) => !file.existed).map((file) => removeFile(file.path)));
  },
};
