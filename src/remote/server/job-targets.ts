/** What operations do not tell of the block jobs that libvirt's clients have begun. */
const maxOperations = 1_000;

/** Which disk an operation is about, and which merges of active images are to be asked to pivot. */
export class JobTargets {
  readonly #activeCommits = new Set<string>();
  readonly #targets = new Map<string, string>();

  /** Keeps the latest of them. */
  remember(operation: string, target: string): void {
    this.#targets.set(operation, target);
    const [oldest] = this.#targets.keys();
    if (this.#targets.size > maxOperations && oldest !== undefined) this.#targets.delete(oldest);
  }

  find(operation: string): string | undefined {
    return this.#targets.get(operation);
  }

  /** In libvirt a merge of the active image waits to be told to pivot; here it ends by itself, and the word may come later. */
  expectPivot(domain: string, target: string): void {
    this.#activeCommits.add(`${domain} ${target}`);
    const [oldest] = this.#activeCommits;
    if (this.#activeCommits.size > maxOperations && oldest !== undefined) this.#activeCommits.delete(oldest);
  }

  /** True once after each `expectPivot`. */
  takePivot(domain: string, target: string): boolean {
    return this.#activeCommits.delete(`${domain} ${target}`);
  }
}
