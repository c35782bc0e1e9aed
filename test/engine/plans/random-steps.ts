/** What happens in a random life of a domain. */
import fc from "fast-check";

/** Where an operation is interrupted: after or within a task, never with `at` behind the last. */
export interface Interruption {
  readonly at: number;
  readonly how: "none" | "resume" | "leave";
  readonly tear: boolean;
}

export type Step =
  | { readonly do: "write"; readonly disk: number; readonly block: number }
  | { readonly do: "grow"; readonly disk: number }
  | { readonly do: "power" }
  | { readonly do: "snapshot"; readonly kinds: readonly number[] }
  | { readonly do: "revert"; readonly which: number; readonly after: number; readonly stop: Interruption }
  | { readonly do: "delete"; readonly which: number; readonly mode: number; readonly stop: Interruption }
  | { readonly do: "clone"; readonly which: number }
  | { readonly do: "end-clones" };

const interruption: fc.Arbitrary<Interruption> = fc.record({
  at: fc.nat(12),
  how: fc.constantFrom("none", "resume", "leave"),
  tear: fc.boolean(),
});

export const arbitrarySteps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant("write" as const), disk: fc.nat(1), block: fc.nat(6) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("grow" as const), disk: fc.nat(1) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("power" as const) }) },
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant("snapshot" as const),
        kinds: fc.tuple(fc.constantFrom(0, 1, 1, 2), fc.constantFrom(0, 1, 1, 2)),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant("revert" as const),
        which: fc.nat(20),
        after: fc.nat(2),
        stop: interruption,
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant("delete" as const),
        which: fc.nat(20),
        mode: fc.nat(2),
        stop: interruption,
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("clone" as const), which: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("end-clones" as const) }) },
  ),
  { minLength: 1, maxLength: 40, size: "max" },
);
