import assert from "node:assert/strict";
import { test } from "node:test";
import { drawTree, maxDrawnDepth } from "../../src/cli/snapshot-tree.ts";

const draw = (...pairs: [name: string, parent?: string][]) =>
  [...drawTree(pairs.map(([name, parent]) => (parent === undefined ? { name } : { name, parent })))].join("\n");

test("a tree has virsh's lines, with the blank ones at the ends of branches", () => {
  // As `virsh -c test:///default snapshot-list test --tree` printed it.
  assert.equal(
    draw(["s1"], ["s2", "s1"], ["s3", "s2"], ["s4", "s1"], ["s5", "s4"], ["s6", "s1"]),
    [
      "s1",
      "  |",
      "  +- s2",
      "  |   |",
      "  |   +- s3",
      "  |     ",
      "  +- s4",
      "  |   |",
      "  |   +- s5",
      "  |     ",
      "  +- s6",
      "    ",
    ].join("\n"),
  );
  assert.equal(draw(["c"], ["d"]), "c\n\nd\n");
});

test("a snapshot whose parent is not listed is a root; the order of siblings is the list's", () => {
  assert.equal(draw(["b", "gone"], ["z", "b"], ["a", "b"]), "b\n  |\n  +- z\n  +- a\n    ");
});

test("chains far deeper than the call stack are drawn, each line short, each level told", () => {
  const chain = Array.from({ length: 50_000 }, (_, index) =>
    index === 0 ? { name: "s0" } : { name: `s${index}`, parent: `s${index - 1}` },
  );
  const lines = [...drawTree(chain)];
  assert.equal(lines.length, 2 * chain.length);
  assert.ok(lines.every((line) => line.length < 4 * maxDrawnDepth + 40));
  assert.ok(lines.at(-2)?.endsWith("+- [level 49999] s49999"));
  assert.ok(lines[2 * maxDrawnDepth]?.endsWith(`    +- s${maxDrawnDepth}`));
});
