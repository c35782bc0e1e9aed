/**
 * The program that writes inside the witness guest, as x86-64 machine code: a compiler cannot be assumed where tests run,
 * and a shell loop around `dd` starts a process for each record, which is slow under `tcg`.
 *
 * `witness RUN SLOTS OFFSET INTERVAL_US COUNT DEVICE...` (numbers in decimal) writes record 1 to every device in turn, then
 * record 2, and so on. Each write is durable (`O_DIRECT`, `O_DSYNC`) and then reported as a line on standard output, before
 * the next one starts:
 *
 *     W <sequence> <disk index> <microseconds that the write took>
 *     E <sequence> <disk index> <errno>       the write failed (sequence 0: the open failed); the program then exits with 1
 *
 * It ends with 0 after record COUNT of the last device; 0 means never. INTERVAL_US is slept after each write.
 *
 * Memory: the code at 0x400000, `record` at 0x401000 (4096 bytes, aligned for O_DIRECT), `lineEnd` and `time` at 0x402100
 * (a line ends where the time begins), `pause` at 0x402110, the numbers `run`, `slots`, `offset`, `interval`, `count` at
 * 0x402120 (8 bytes each), `files` at 0x402180 (descriptors, 4 bytes each). To change it: GNU `as` with
 * `.intel_syntax noprefix` gives the bytes of an instruction.
 */
import { assembleProgram, type Line } from "./assemble.ts";

/** More than any test needs; their descriptors fit behind `files`. */
export const maxDisks = 256;

// prettier-ignore
const listing: readonly Line[] = [
  // r14 = number of disks, rbx = &argv[1]
  { label: "_start" },
  ["4c 8b 34 24", "mov r14, qword [rsp]"],
  ["49 83 ee 06", "sub r14, 0x6"],
  ["48 8d 5c 24 10", "lea rbx, [rsp+0x10]"],
  ["31 ed", "xor ebp, ebp"],
  // the five numbers (decimal) of argv into memory from `run` on
  { label: "parse_next" },
  ["48 8b 34 eb", "mov rsi, qword [rbx+rbp*8]"],
  ["31 c0", "xor eax, eax"],
  { label: "parse_digit" },
  ["0f b6 0e", "movzx ecx, byte [rsi]"],
  ["48 ff c6", "inc rsi"],
  ["83 e9 30", "sub ecx, 0x30"],
  { jump: "jb", to: "parsed" },
  ["48 6b c0 0a", "imul rax, rax, 0xa"],
  ["48 01 c8", "add rax, rcx"],
  { jump: "jmp", to: "parse_digit" },
  { label: "parsed" },
  ["48 89 04 ed 20 21 40 00", "mov qword [rbp*8+run], rax"],
  ["ff c5", "inc ebp"],
  ["83 fd 05", "cmp ebp, 0x5"],
  { jump: "jne", to: "parse_next" },
  ["48 8b 04 25 38 21 40 00", "mov rax, qword [interval]"],
  ["31 d2", "xor edx, edx"],
  ["b9 40 42 0f 00", "mov ecx, 0xf4240"],
  ["48 f7 f1", "div rcx"],
  ["48 89 04 25 10 21 40 00", "mov qword [pause], rax"],
  ["48 69 d2 e8 03 00 00", "imul rdx, rdx, 0x3e8"],
  ["48 89 14 25 18 21 40 00", "mov qword [pause+8], rdx"],
  ["48 83 c3 28", "add rbx, 0x28"],
  ["45 31 e4", "xor r12d, r12d"],
  ["45 31 ed", "xor r13d, r13d"],
  // open each disk: O_WRONLY | O_DIRECT | O_DSYNC; r13 = disk, r12 = sequence number, 0 so far
  { label: "open_next" },
  ["4a 8b 3c eb", "mov rdi, qword [rbx+r13*8]"],
  ["be 01 50 00 00", "mov esi, 0x5001"],
  ["b8 02 00 00 00", "mov eax, open"],
  ["0f 05", "syscall"],
  ["85 c0", "test eax, eax"],
  { jump: "js", to: "fail" },
  ["42 89 04 ad 80 21 40 00", "mov dword [r13*4+files], eax"],
  ["49 ff c5", "inc r13"],
  ["4d 39 f5", "cmp r13, r14"],
  { jump: "jne", to: "open_next" },
  // record n to every disk in turn
  { label: "round" },
  ["49 ff c4", "inc r12"],
  ["45 31 ed", "xor r13d, r13d"],
  // build the record: header, seed, generated words
  { label: "write_next" },
  ["48 b8 57 49 54 4e 45 53 53 31", "movabs rax, 0x315353454e544957"],
  ["48 89 04 25 00 10 40 00", "mov qword [record], rax"],
  ["48 8b 04 25 20 21 40 00", "mov rax, qword [run]"],
  ["48 89 04 25 08 10 40 00", "mov qword [record+8], rax"],
  ["4c 89 24 25 10 10 40 00", "mov qword [record+16], r12"],
  ["4c 89 2c 25 18 10 40 00", "mov qword [record+24], r13"],
  ["41 69 cc b1 79 37 9e", "imul ecx, r12d, 0x9e3779b1"],
  ["01 c8", "add eax, ecx"],
  ["41 69 cd 77 ca eb 85", "imul ecx, r13d, 0x85ebca77"],
  ["01 c8", "add eax, ecx"],
  ["b9 08 00 00 00", "mov ecx, 0x8"],
  { label: "fill" },
  ["69 c0 0d 66 19 00", "imul eax, eax, 0x19660d"],
  ["05 5f f3 6e 3c", "add eax, 0x3c6ef35f"],
  ["89 04 8d 00 10 40 00", "mov dword [rcx*4+record], eax"],
  ["ff c1", "inc ecx"],
  ["81 f9 00 04 00 00", "cmp ecx, 0x400"],
  { jump: "jne", to: "fill" },
  { jump: "call", to: "clock" },
  ["48 89 c5", "mov rbp, rax"],
  // rdx = offset + (n * 17 mod slots) * 4096: see slotOfRecord
  ["49 6b c4 11", "imul rax, r12, 0x11"],
  ["31 d2", "xor edx, edx"],
  ["48 f7 34 25 28 21 40 00", "div qword [slots]"],
  ["48 c1 e2 0c", "shl rdx, 0xc"],
  ["48 03 14 25 30 21 40 00", "add rdx, qword [offset]"],
  ["49 89 d2", "mov r10, rdx"],
  ["42 8b 3c ad 80 21 40 00", "mov edi, dword [r13*4+files]"],
  ["be 00 10 40 00", "mov esi, record"],
  ["ba 00 10 00 00", "mov edx, 0x1000"],
  ["b8 12 00 00 00", "mov eax, pwrite64"],
  ["0f 05", "syscall"],
  ["48 3d 00 10 00 00", "cmp rax, 0x1000"],
  { jump: "jne", to: "fail" },
  { jump: "call", to: "clock" },
  ["48 29 e8", "sub rax, rbp"],
  ["b3 57", "mov bl, 0x57"],
  { jump: "call", to: "report" },
  ["48 83 3c 25 38 21 40 00 00", "cmp qword [interval], 0x0"],
  { jump: "je", to: "written" },
  ["bf 10 21 40 00", "mov edi, pause"],
  ["31 f6", "xor esi, esi"],
  ["b8 23 00 00 00", "mov eax, nanosleep"],
  ["0f 05", "syscall"],
  { label: "written" },
  ["49 ff c5", "inc r13"],
  ["4d 39 f5", "cmp r13, r14"],
  { jump: "jne", to: "write_next" },
  ["4c 3b 24 25 40 21 40 00", "cmp r12, qword [count]"],
  { jump: "jne", to: "round" },
  ["31 ed", "xor ebp, ebp"],
  // wait until the console has sent everything (TCSBRK), then leave with status ebp
  { label: "exit" },
  ["bf 01 00 00 00", "mov edi, 0x1"],
  ["be 09 54 00 00", "mov esi, 0x5409"],
  ["ba 01 00 00 00", "mov edx, 0x1"],
  ["b8 10 00 00 00", "mov eax, ioctl"],
  ["0f 05", "syscall"],
  ["89 ef", "mov edi, ebp"],
  ["b8 3c 00 00 00", "mov eax, exit"],
  ["0f 05", "syscall"],
  // rax = -errno
  { label: "fail" },
  ["48 f7 d8", "neg rax"],
  ["b3 45", "mov bl, 0x45"],
  { jump: "call", to: "report" },
  ["bd 01 00 00 00", "mov ebp, 0x1"],
  { jump: "jmp", to: "exit" },
  // rax = CLOCK_MONOTONIC in microseconds
  { label: "clock" },
  ["bf 01 00 00 00", "mov edi, 0x1"],
  ["be 00 21 40 00", "mov esi, time"],
  ["b8 e4 00 00 00", "mov eax, clock_gettime"],
  ["0f 05", "syscall"],
  ["48 8b 04 25 08 21 40 00", "mov rax, qword [time+8]"],
  ["31 d2", "xor edx, edx"],
  ["b9 e8 03 00 00", "mov ecx, 0x3e8"],
  ["48 f7 f1", "div rcx"],
  ["48 69 0c 25 00 21 40 00 40 42 0f 00", "imul rcx, qword [time], 0xf4240"],
  ["48 01 c8", "add rax, rcx"],
  ["c3", "ret"],
  // write "<bl> <r12> <r13> <rax>\n" to the console, built backwards from `lineEnd`
  { label: "report" },
  ["be 00 21 40 00", "mov esi, lineEnd"],
  ["48 ff ce", "dec rsi"],
  ["c6 06 0a", "mov byte [rsi], 0xa"],
  { jump: "call", to: "number" },
  ["4c 89 e8", "mov rax, r13"],
  { jump: "call", to: "number" },
  ["4c 89 e0", "mov rax, r12"],
  { jump: "call", to: "number" },
  ["48 ff ce", "dec rsi"],
  ["88 1e", "mov byte [rsi], bl"],
  ["ba 00 21 40 00", "mov edx, lineEnd"],
  ["29 f2", "sub edx, esi"],
  ["bf 01 00 00 00", "mov edi, 0x1"],
  ["b8 01 00 00 00", "mov eax, write"],
  ["0f 05", "syscall"],
  ["c3", "ret"],
  // put rax in decimal, and a space before it, in front of rsi
  { label: "number" },
  ["b9 0a 00 00 00", "mov ecx, 0xa"],
  { label: "digit" },
  ["31 d2", "xor edx, edx"],
  ["48 f7 f1", "div rcx"],
  ["80 c2 30", "add dl, 0x30"],
  ["48 ff ce", "dec rsi"],
  ["88 16", "mov byte [rsi], dl"],
  ["48 85 c0", "test rax, rax"],
  { jump: "jne", to: "digit" },
  ["48 ff ce", "dec rsi"],
  ["c6 06 20", "mov byte [rsi], 0x20"],
  ["c3", "ret"],
];

/** The executable file. */
export function buildWriterProgram(): Buffer {
  return assembleProgram(listing, 0x3000, 0x1000);
}
