/** `npm run build`: makes `dist/`, the JavaScript and declarations of `src/`, with the data files beside them. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const [source, target] = [join(root, "src"), join(root, "dist")];

// A file that was renamed or removed must not stay behind in the package
rmSync(target, { recursive: true, force: true });
execFileSync(join(root, "node_modules/.bin/tsc"), ["-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
for (const name of readdirSync(source, { recursive: true, encoding: "utf8" })) {
  if (!name.endsWith(".json")) continue;
  mkdirSync(dirname(join(target, name)), { recursive: true });
  copyFileSync(join(source, name), join(target, name));
}
