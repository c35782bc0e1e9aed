/** What stands in for an argument or an option's value, by the name that its declaration gives it. */
export type CompletionKind =
  "domain" | "snapshot" | "disk" | "disk list" | "operation" | "command" | "file" | "directory" | "text";

const kinds: Readonly<Record<string, CompletionKind>> = {
  domain: "domain",
  snapshotname: "snapshot",
  disk: "disk",
  target: "disk",
  device: "disk",
  diskspec: "disk",
  targets: "disk list",
  id: "operation",
  command: "command",
  file: "file",
  source: "file",
  dest: "file",
  path: "file",
  socket: "file",
  "qmp-socket": "file",
  xmlfile: "file",
  directory: "directory",
  description: "text",
  mountpoints: "text",
  name: "text",
  "new-name": "text",
  number: "text",
  rate: "text",
  bandwidth: "text",
  size: "text",
};

/** virsh's `PATH` of a block command is a disk; the value of an option of that name is a file. */
const argumentKinds: Readonly<Record<string, CompletionKind>> = { ...kinds, path: "disk" };

/**
 * Of `snapshotname`, or of an option's `<disk[,key=value…]>`: its first word counts. Undefined for a word that is not known, which
 * is completed like `text`: not at all. A test has every word known.
 */
export function findCompletionKind(placeholder: string, isArgument: boolean): CompletionKind | undefined {
  const known = isArgument ? argumentKinds : kinds;
  const word = /[a-z][a-z-]*/.exec(placeholder)?.[0] ?? "";
  return Object.hasOwn(known, word) ? known[word] : undefined;
}
