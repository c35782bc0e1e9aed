/** Turns a listing of x86-64 instructions into a static Linux executable. It knows labels, not instructions. */

/** One line of a listing: bytes in hexadecimal with the instruction they stand for, a label, or a jump to a label. */
export type Line =
  | readonly [bytes: string, instruction: string]
  | { readonly label: string }
  | { readonly jump: JumpKind; readonly to: string };

type JumpKind = keyof typeof jumpOpcodes;

/** Opcodes of the forms that take a 32-bit distance from the end of the instruction. */
const jumpOpcodes = { jmp: "e9", call: "e8", je: "0f84", jne: "0f85", js: "0f88", jb: "0f82" } as const;

export const loadAddress = 0x400000;
const headerBytes = 64 + 56;

/**
 * Builds an ELF file with one readable, writable and executable segment of `memoryBytes` at {@link loadAddress}: the headers, the
 * code, then zeroed memory. It starts at the first line. Throws RangeError for an unknown label or when the code does not
 * fit below `codeLimit`.
 */
export function assembleProgram(lines: readonly Line[], memoryBytes: number, codeLimit: number): Buffer {
  const code = assembleCode(lines);
  const fileBytes = headerBytes + code.length;
  if (fileBytes > codeLimit) throw new RangeError(`the program has ${fileBytes} bytes, only ${codeLimit} fit`);
  const file = Buffer.alloc(fileBytes);
  // ELF header: 64-bit, little endian, version 1; then ET_EXEC, EM_X86_64
  file.write("\x7fELF\x02\x01\x01", 0, "latin1");
  file.writeUInt16LE(2, 16);
  file.writeUInt16LE(62, 18);
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(BigInt(loadAddress + headerBytes), 24); // entry
  file.writeBigUInt64LE(64n, 32); // program headers follow this one
  file.writeUInt16LE(64, 52); // size of this header
  file.writeUInt16LE(56, 54); // size of a program header
  file.writeUInt16LE(1, 56); // their number
  // Program header: PT_LOAD, read + write + execute
  file.writeUInt32LE(1, 64);
  file.writeUInt32LE(7, 68);
  file.writeBigUInt64LE(BigInt(loadAddress), 80); // virtual address; the file offset at 72 stays 0
  file.writeBigUInt64LE(BigInt(loadAddress), 88);
  file.writeBigUInt64LE(BigInt(fileBytes), 96);
  file.writeBigUInt64LE(BigInt(memoryBytes), 104);
  file.writeBigUInt64LE(4096n, 112); // alignment
  code.copy(file, headerBytes);
  return file;
}

function assembleCode(lines: readonly Line[]): Buffer {
  const labels = new Map<string, number>();
  const jumps: { readonly at: number; readonly to: string }[] = [];
  const parts: Buffer[] = [];
  let length = 0;
  for (const line of lines) {
    if ("label" in line) {
      labels.set(line.label, length);
      continue;
    }
    const part = Buffer.from("jump" in line ? `${jumpOpcodes[line.jump]}00000000` : line[0].replaceAll(" ", ""), "hex");
    parts.push(part);
    length += part.length;
    if ("jump" in line) jumps.push({ at: length - 4, to: line.to });
  }
  const code = Buffer.concat(parts);
  for (const jump of jumps) {
    const target = labels.get(jump.to);
    if (target === undefined) throw new RangeError(`no label ${jump.to}`);
    code.writeInt32LE(target - (jump.at + 4), jump.at);
  }
  return code;
}
