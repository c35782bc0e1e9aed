import type { Import, ImportGraph } from "./read-imports.ts";

type Rules = Readonly<Record<string, readonly string[]>>;

/** What is wrong with `graph` by `rules`, a sentence each; empty: nothing. */
export function findViolations(graph: ImportGraph, rules: Rules): string[] {
  return [...findUnknown(graph, rules), ...findForbidden(graph, rules), ...findCycles(graph.imports)];
}

function findUnknown({ files }: ImportGraph, rules: Rules): string[] {
  const unknown = files.filter((file) => lineOf(file, rules) === undefined);
  const used = new Set(files.map((file) => lineOf(file, rules)));
  const stale = Object.keys(rules).filter((line) => !used.has(line));
  return [
    ...unknown.map((file) => `${file}: its folder has no line in tools/check-imports/rules.ts`),
    ...stale.map((line) => `tools/check-imports/rules.ts: there is no ${line}`),
  ];
}

function findForbidden({ imports }: ImportGraph, rules: Rules): string[] {
  return imports.flatMap(({ from, to }) => {
    const line = lineOf(from, rules);
    if (line === undefined) return [];
    const own = lineOf(to, rules) === line;
    if (own || rules[line]?.some((permitted) => isInside(to, permitted)) === true) return [];
    return [`${from} imports ${to}: ${line} may not`];
  });
}

/** The most particular line that a file belongs to. */
function lineOf(file: string, rules: Rules): string | undefined {
  const lines = Object.keys(rules).filter((line) => isInside(file, line));
  return lines.toSorted((a, b) => b.length - a.length)[0];
}

function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** One sentence for each import that closes a circle, found by a walk that goes down first. */
function findCycles(imports: readonly Import[]): string[] {
  const next = Map.groupBy(imports, ({ from }) => from);
  const [path, done, cycles]: [string[], Set<string>, string[]] = [[], new Set(), []];
  const visit = (file: string): void => {
    const at = path.indexOf(file);
    if (at !== -1) cycles.push(`circle: ${[...path.slice(at), file].join(" -> ")}`);
    if (at !== -1 || done.has(file)) return;
    path.push(file);
    for (const { to } of next.get(file) ?? []) visit(to);
    path.pop();
    done.add(file);
  };
  for (const file of next.keys()) visit(file);
  return cycles;
}
