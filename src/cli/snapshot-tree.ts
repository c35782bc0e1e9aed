/** `snapshot-list --tree`: virsh's drawing. */

export interface TreeNode {
  readonly name: string;
  readonly parent?: string;
}

/** Indentation stops growing here: each line stays short, so that a chain of any length is drawn in time that grows with it. */
export const maxDrawnDepth = 100;

/**
 * The lines of virsh's tree, byte for byte, the blank ones at the ends of branches included. Siblings stand in the order of `nodes`; one
 * whose parent is not among them is a root. What is deeper than `maxDrawnDepth` is drawn at that depth, with its level before its
 * name. Takes time in proportion to the number of nodes.
 */
export function* drawTree(nodes: readonly TreeNode[]): Generator<string, void, undefined> {
  const names = new Set(nodes.map(({ name }) => name));
  const childrenOf = Map.groupBy(nodes, ({ parent }) =>
    parent !== undefined && names.has(parent) ? parent : undefined,
  );
  // Our own list in place of the call stack: a chain may be deeper than that.
  const waiting = (childrenOf.get(undefined) ?? [])
    .toReversed()
    .map(({ name }) => ({ name, indent: "", depth: 0, isLast: true }));
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { name, indent, depth, isLast } = next;
    const level = depth > maxDrawnDepth ? `[level ${depth}] ` : "";
    yield depth === 0 ? name : `${indent}+- ${level}${name}`;
    const isAtLimit = depth >= maxDrawnDepth;
    const below = depth === 0 || isAtLimit ? indent : `${indent}${isLast ? " " : "|"} `;
    const children = childrenOf.get(name) ?? [];
    if (children.length > 0) yield isAtLimit ? `${below}|` : `${below}  |`;
    else if (isLast) yield below;
    const childIndent = isAtLimit ? below : `${below}  `;
    for (const [index, child] of children.toReversed().entries()) {
      waiting.push({ name: child.name, indent: childIndent, depth: depth + 1, isLast: index === 0 });
    }
  }
}
