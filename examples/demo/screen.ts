/** The demo's words on the terminal. */
import type { DiskView } from "../../src/api-types/index.ts";

const barCells = 30;

export class Screen {
  readonly #out: NodeJS.WriteStream;
  #scene = 0;
  #drawn = false;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  /** A numbered heading, and what it is about. */
  scene(title: string, ...lines: string[]): void {
    this.#scene += 1;
    this.#write(`\n${this.#bold(`${this.#scene}. ${title}`)}\n`);
    for (const line of lines) this.say(line);
  }

  say(line: string): void {
    this.#write(`   ${line}\n`);
  }

  command(line: string): void {
    this.say(this.#bold(`$ ${line}`));
  }

  /** A verdict: a check mark or a cross, and what it is about. */
  verdict(holds: boolean, line: string): void {
    this.say(`${holds ? this.#colour(32, "✓") : this.#colour(31, "✗")} ${line}`);
  }

  chains(disks: readonly DiskView[], root: string): void {
    for (const { target, chain } of disks) {
      this.say(`guest's ${target} -> ${chain.map(({ path }) => path.replace(`${root}/`, "")).join(" -> ")}`);
    }
  }

  /** Redraws one line on a terminal; elsewhere nothing is drawn until `endBar`. */
  bar(label: string, fraction: number, note: string): void {
    if (!this.#out.isTTY) return;
    this.#out.write(`\r\u001b[K   ${this.#barText(label, fraction, note)}`);
    this.#drawn = true;
  }

  endBar(label: string, note: string): void {
    if (this.#drawn) this.#out.write("\r\u001b[K");
    this.#drawn = false;
    this.say(this.#barText(label, 1, note));
  }

  #barText(label: string, fraction: number, note: string): string {
    const full = Math.round(barCells * fraction);
    return `${label.padEnd(9)} ${"█".repeat(full)}${"░".repeat(barCells - full)} ${note}`;
  }

  #write(text: string): void {
    if (this.#drawn) this.#out.write("\n");
    this.#drawn = false;
    this.#out.write(text);
  }

  #bold(text: string): string {
    return this.#colour(1, text);
  }

  #colour(code: number, text: string): string {
    return this.#out.isTTY ? `\u001b[${code}m${text}\u001b[0m` : text;
  }
}
