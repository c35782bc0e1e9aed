/** The tests of one scenario. */
import { test } from "node:test";
import { TreeCase, type Death } from "./tree-cases.ts";
import { scenarios, type Scenario } from "./tree-scenarios.ts";

/** Every death at every point, on every disk; otherwise the first of those that differ in the disk alone. */
const isWhole = process.env["QMIRROR_CRASH"] === "all";

/** Names of deaths that a test of this file has died. */
const died = new Set<string>();

export function testDeaths(scenario: Scenario): void {
  test(scenario.name, async (t) => {
    const one = await TreeCase.create(scenario);
    t.after(() => one.close());
    const deaths = one.deaths.filter((death) => isWhole || (isFirst(death) && isNews(death)));
    for (const death of deaths) {
      await t.test(`the daemon dies ${nameOf(death)}`, () => one.die(death, { withQemu: false }));
    }
    if (!scenario.runs) return;
    for (const death of deaths.filter(({ point }) => isWhole || point.startsWith("after"))) {
      await t.test(`the daemon and QEMU die ${nameOf(death)}`, () => one.die(death, { withQemu: true }));
    }
  });
}

function nameOf({ point, failAt }: Death): string {
  return failAt === undefined ? point : `${point}, having failed ${failAt}`;
}

/** Death before a task is much like death after the one before it: once for each kind of task is enough. */
function isNews(death: Death): boolean {
  const isKnown = died.has(nameOf(death));
  died.add(nameOf(death));
  return !isKnown || death.point.startsWith("after");
}

/** The last task establishes too, and is another. */
function isFirst({ point }: Death): boolean {
  return point.endsWith("#1") || point.includes("establish");
}

/** Deletions that fail, once decided, and are asked for again. */
export function testAskingAgain(scenario: Scenario): void {
  test(`${scenario.name}: failed, and asked for again`, async (t) => {
    const one = await TreeCase.create(scenario);
    t.after(() => one.close());
    // Failed after it has established, a task is done; the last one ends the deletion.
    const points = one.deaths.filter((death) => death.decided && !death.point.startsWith("after establish"));
    for (const { point } of points.filter((death) => isWhole || isFirst(death))) {
      const stopped = point.startsWith("after") && scenario.runs;
      await t.test(`${point}${stopped ? ", when it has been stopped" : ""}`, () =>
        one.failAndAskAgain(point, { stopped }),
      );
    }
  });
}

/** Merges that are slow enough to die in the middle of. */
export function testInstants(scenario: Scenario, tries: number): void {
  test(`${scenario.name}: deaths in the middle`, async (t) => {
    const one = await TreeCase.create(scenario);
    t.after(() => one.close());
    const starts = one.deaths.filter(({ point }) => /^before (merge-down|pull-up) #1$/.test(point));
    for (const death of starts) {
      for (const withQemu of scenario.runs ? [false, true] : [false]) {
        for (let left = isWhole ? 10 * tries : tries; left > 0; left--) {
          const afterMs = Math.floor(Math.random() * 600);
          const slowly = { bytesPerS: 1024 * 1024, afterMs };
          const who = withQemu ? "the daemon and QEMU die" : "the daemon dies";
          await t.test(`${who} ${afterMs} ms ${death.point}`, () => one.die(death, { withQemu, slowly }));
        }
      }
    }
  });
}

/** Those of a verb. */
export function scenariosOf(...verbs: readonly string[]): readonly Scenario[] {
  const found = scenarios.filter(({ name }) => verbs.some((verb) => name.startsWith(verb)));
  if (found.length === 0) throw new RangeError(verbs.join());
  return found;
}
