/** What a fuzzer is: inputs, and what must hold for each of them. */
import fc from "fast-check";

/** An input is plain JSON, so that one that breaks something can be kept as a file of `test/fixtures/fuzz`. */
export interface FuzzTarget<Input = unknown> {
  readonly inputs: fc.Arbitrary<Input>;
  /** Throws, or rejects, when the code under test does what it must never do. */
  check(input: Input): Promise<void> | void;
  close?(): Promise<void>;
}

/** The same target with its own type of inputs hidden. */
export function defineTarget<Input>(target: FuzzTarget<Input>): FuzzTarget {
  return { ...target, inputs: target.inputs, check: (input) => target.check(input as Input) };
}

/** Wall time of one input at most, on a machine that is busy with other things too. */
export const maxInputMs = 20_000;

export interface FoundFault {
  readonly input: unknown;
  /** What was thrown, and the seed and path that give the input again. */
  readonly report: string;
}

/** Runs `check` on so many inputs, the same ones for the same seed. Resolves with the smallest input that fails, if any. */
export async function runFuzz(target: FuzzTarget, inputs: number, seed: number): Promise<FoundFault | undefined> {
  const property = fc.asyncProperty(target.inputs, async (input) => {
    const startedMs = performance.now();
    await target.check(input);
    const tookMs = performance.now() - startedMs;
    if (tookMs > maxInputMs) throw new Error(`one input took ${Math.round(tookMs)} ms`);
  });
  const details = await fc.check(property, { numRuns: inputs, seed });
  if (!details.failed) return undefined;
  const { errorInstance } = details;
  const words = errorInstance instanceof Error ? errorInstance.stack : String(errorInstance);
  return { input: details.counterexample?.[0], report: `seed ${seed}, path ${details.counterexamplePath}: ${words}` };
}
