/** Asks a real QEMU for its schema. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { RecordedSchema, SchemaEntity } from "../../src/testing/schema-types.ts";

/** Starts `binary` with no machine, asks it, ends it. The schema does not depend on the machine. */
export async function fetchSchema(binary: string): Promise<RecordedSchema> {
  const qemu = spawn(binary, ["-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exited = once(qemu, "close");
  try {
    const lines = createInterface({ input: qemu.stdout })[Symbol.asyncIterator]();
    const read = async (): Promise<unknown> => {
      const line = await lines.next();
      if (line.done === true) throw new Error(`${binary} ended before it answered`);
      return JSON.parse(line.value);
    };
    const ask = async (command: string): Promise<unknown> => {
      qemu.stdin.write(JSON.stringify({ execute: command }) + "\n");
      const answer = (await read()) as { return?: unknown };
      if (answer.return === undefined) throw new Error(`${command}: ${JSON.stringify(answer)}`);
      return answer.return;
    };
    await read();
    await ask("qmp_capabilities");
    const { qemu: v } = (await ask("query-version")) as { qemu: { major: number; minor: number; micro: number } };
    const schema = (await ask("query-qmp-schema")) as SchemaEntity[];
    qemu.stdin.write('{"execute":"quit"}\n');
    return { version: `${v.major}.${v.minor}.${v.micro}`, schema };
  } catch (error) {
    qemu.kill();
    throw error;
  } finally {
    await exited;
  }
}
