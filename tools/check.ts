/** `npm run check`: everything that needs no test run. All checks run, whatever fails; exit code 1 when one did. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

const checks: Readonly<Record<string, readonly [string, ...string[]]>> = {
  format: ["prettier", "--check", "--log-level", "warn", "."],
  types: ["tsc", "-p", "."],
  lint: ["oxlint"],
  imports: ["node", "tools/check-imports/main.ts"],
  "file sizes": ["node", "tools/check-file-sizes.ts"],
  "generated QAPI types": ["node", "tools/qapi-gen/main.ts", "--check"],
  "generated error reference": ["node", "tools/errors-doc.ts", "--check"],
  "generated command reference": ["node", "tools/cli-docs.ts", "--check"],
};

for (const [name, [program, ...args]] of Object.entries(checks)) {
  const startedMs = performance.now();
  const { passed, output } = await run(program, args);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.log(`${passed ? "ok    " : "FAILED"} ${name} (${seconds} s)`);
  if (passed) continue;
  console.log(output.replaceAll(/^(?=.)/gm, "       "));
  process.exitCode = 1;
}

function run(program: string, args: readonly string[]): Promise<{ passed: boolean; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(`${root}/node_modules/.bin/${program}`, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const collect = (chunk: string): void => void (output += chunk);
    child.stdout.setEncoding("utf8").on("data", collect);
    child.stderr.setEncoding("utf8").on("data", collect);
    child.once("error", reject);
    child.once("close", (status) => resolve({ passed: status === 0, output }));
  });
}
