/** What one run does, all of it derived from the campaign's seed and the run's number. */
import type { Layout } from "./layout.ts";
import { operationNames, operations, type Operation, type OperationName } from "./operations.ts";
import { randomOf, type Random } from "./random.ts";

export const victims = ["daemon", "qemu", "daemon+qemu", "qemu-img", "daemon+qemu-img"] as const;
export type Victim = (typeof victims)[number];

/** When the victims are killed. */
export type Moment =
  /** At the n-th named point that the engine comes to, counted from 0. */
  | { readonly at: "point"; readonly index: number }
  /** The operation is made to fail at that point; the kill is at the n-th point after it, in its undoing. */
  | { readonly at: "undo"; readonly failIndex: number; readonly index: number }
  | { readonly at: "instant"; readonly afterMs: number }
  /** So long after a `qemu-img` child was first seen. */
  | { readonly at: "qemu-img"; readonly afterMs: number };

export interface Scenario {
  readonly seed: number;
  readonly run: number;
  readonly operation: OperationName;
  readonly layouts: readonly Layout[];
  readonly victim: Victim;
  readonly moment: Moment;
  /** The daemon is killed again so long after it was started anew; absent: it is not. */
  readonly againAfterMs?: number;
  /** How mirrors and copies that wait for their user are ended. */
  readonly ending: "pivot" | "abort";
  /** Choices of the operation itself. */
  readonly choice: Random;
}

/** `only` fixes the operation, and leaves all else as the seed has it. */
export function deriveScenario(seed: number, run: number, only?: OperationName): Scenario {
  const random = randomOf(seed, run);
  const drawn = random.pick(operationNames);
  const operation = only ?? drawn;
  const { usesQemuImg } = operations[operation];
  // Raw disks are left to tests with a guest: a write of the monitor's `qemu-io` that is under way when a merge into a raw image ends
  // trips an assertion of QEMU 7.2, a guest's own device does not (75 clones of two raw disks while it wrote).
  const layouts = Array.from({ length: 1 + random.below(3) }, () => random.pick<Layout>(["qcow2", "qcow2", "based"]));
  const victim = drawVictim(random, usesQemuImg === true);
  const moment = drawMoment(random, victim, operations[operation]);
  const again = random.chance(0.15) ? { againAfterMs: 50 + random.below(400) } : {};
  const ending = random.pick(["pivot", "abort"] as const);
  return { seed, run, operation, layouts, victim, moment, ...again, ending, choice: random };
}

function drawVictim(random: Random, usesQemuImg: boolean): Victim {
  const drawn = random.fraction();
  if (usesQemuImg && drawn >= 0.7) return drawn < 0.85 ? "qemu-img" : "daemon+qemu-img";
  return random.pick(["daemon", "daemon", "qemu", "daemon+qemu"] as const);
}

function drawMoment(random: Random, victim: Victim, { points, undoable, usualMs }: Operation): Moment {
  if (victim === "qemu-img" || victim === "daemon+qemu-img") return { at: "qemu-img", afterMs: random.below(10) };
  const drawn = random.fraction();
  if (drawn < 0.5) return { at: "point", index: random.below(points) };
  if (drawn < 0.65) return { at: "undo", failIndex: random.below(undoable), index: random.below(3) };
  return { at: "instant", afterMs: random.below(usualMs) };
}
