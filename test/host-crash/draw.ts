import { createHash } from "node:crypto";
import { fileSystems, layouts } from "./crash-disk.ts";
import type { Crash } from "./run-crash.ts";
import { verbOf, type VerbName } from "./verbs.ts";

/** The run with this number: the same for the same seed, whatever ran before. Operations take turns; the rest is drawn. */
export function drawCrash(seed: number, index: number, among: readonly VerbName[]): Crash {
  const numbers = createHash("sha256").update(`${seed} ${index}`).digest();
  const draw = (at: number, below: number): number => numbers.readUInt32BE(at * 4) % below;
  const verb = among[index % among.length];
  if (verb === undefined) throw new RangeError("no operation to draw from");
  const { points, lastsMs } = verbOf(verb);
  return {
    verb,
    fileSystem: fileSystems[draw(0, fileSystems.length)] ?? "ext4",
    layout: layouts[draw(4, layouts.length)] ?? "apart",
    // Half and half would find less: only what the page cache still holds can be lost.
    cache: draw(1, 4) === 0 ? "none" : "writeback",
    die: draw(2, 3) === 0 ? { afterMs: draw(3, lastsMs) } : { nth: 1 + draw(3, points + 1) },
  };
}
