/** Every command: its summary here, the rest in a file that is loaded when it is used. */
import type { CommandModule } from "./context.ts";

export interface CommandEntry {
  readonly summary: string;
  readonly aliases?: readonly string[];
  load(): Promise<CommandModule>;
}

export const commandTable: Readonly<Record<string, CommandEntry>> = {
  list: { summary: "list domains", load: () => import("./commands/list.ts") },
  define: { summary: "define a persistent domain from an XML file", load: () => import("./commands/define.ts") },
  create: { summary: "start a transient domain from an XML file", load: () => import("./commands/create.ts") },
  start: { summary: "start a domain", load: () => import("./commands/start.ts") },
  destroy: { summary: "end a domain's QEMU at once", load: () => import("./commands/destroy.ts") },
  undefine: { summary: "forget a persistent domain", load: () => import("./commands/undefine.ts") },
  attach: { summary: "manage a QEMU that somebody else started", load: () => import("./commands/attach.ts") },
  detach: { summary: "let an attached QEMU go; it runs on", load: () => import("./commands/detach.ts") },
  dumpxml: { summary: "print a domain's XML", load: () => import("./commands/dumpxml.ts") },
  domblklist: { summary: "list a domain's disks", load: () => import("./commands/domblklist.ts") },
  "snapshot-create": {
    summary: "take a snapshot as an XML file says",
    load: () => import("./commands/snapshot-create.ts"),
  },
  "snapshot-create-as": {
    summary: "take a snapshot as options say",
    load: () => import("./commands/snapshot-create-as.ts"),
  },
  "snapshot-delete": { summary: "end a snapshot's mirrors", load: () => import("./commands/snapshot-delete.ts") },
  "snapshot-list": { summary: "list a domain's snapshots", load: () => import("./commands/snapshot-list.ts") },
  "snapshot-info": { summary: "describe a snapshot", load: () => import("./commands/snapshot-info.ts") },
  "snapshot-dumpxml": { summary: "print a snapshot's XML", load: () => import("./commands/snapshot-dumpxml.ts") },
  blockjob: {
    summary: "show, limit or abort what is done to a domain's disks",
    load: () => import("./commands/blockjob.ts"),
  },
  events: { summary: "print events as they happen", aliases: ["event"], load: () => import("./commands/events.ts") },
  "migrate-storage": {
    summary: "move a running domain's disks to a directory",
    load: () => import("./commands/migrate-storage.ts"),
  },
  "clone-storage": {
    summary: "copy a running domain's disks, as of one moment, to a directory",
    load: () => import("./commands/clone-storage.ts"),
  },
  "operation-list": { summary: "list operations", load: () => import("./commands/operation-list.ts") },
  "operation-watch": { summary: "follow an operation to its end", load: () => import("./commands/operation-watch.ts") },
  "operation-cancel": {
    summary: "stop an operation and undo what it did",
    load: () => import("./commands/operation-cancel.ts"),
  },
  doctor: { summary: "check what this machine offers", load: () => import("./commands/doctor.ts") },
};
