/** Every command: its summary here, the rest in a file that is loaded when it is used. */
import type { CommandModule } from "./context.ts";

export interface CommandEntry {
  readonly summary: string;
  readonly aliases?: readonly string[];
  load(): Promise<CommandModule>;
}

type Commands = Readonly<Record<string, CommandEntry>>;

/** Under the headings of the reference, in its order. */
export const commandGroups: Readonly<Record<string, Commands>> = {
  Domains: {
    list: { summary: "list domains", load: () => import("./commands/list.ts") },
    define: { summary: "define a persistent domain from an XML file", load: () => import("./commands/define.ts") },
    create: { summary: "start a transient domain from an XML file", load: () => import("./commands/create.ts") },
    start: { summary: "start a domain", load: () => import("./commands/start.ts") },
    suspend: { summary: "pause a running domain", load: () => import("./commands/suspend.ts") },
    resume: { summary: "let a paused domain run again", load: () => import("./commands/resume.ts") },
    shutdown: { summary: "ask the guest to shut down", load: () => import("./commands/shutdown.ts") },
    reboot: { summary: "ask the guest to reboot", load: () => import("./commands/reboot.ts") },
    destroy: { summary: "end a domain's QEMU at once", load: () => import("./commands/destroy.ts") },
    save: { summary: "save a running domain's memory to a file and end it", load: () => import("./commands/save.ts") },
    restore: { summary: "run a domain from the file that save wrote", load: () => import("./commands/restore.ts") },
    undefine: { summary: "forget a persistent domain", load: () => import("./commands/undefine.ts") },
    domrename: {
      summary: "rename a persistent domain that is not running",
      load: () => import("./commands/domrename.ts"),
    },
    attach: { summary: "manage a QEMU that somebody else started", load: () => import("./commands/attach.ts") },
    detach: { summary: "let an attached QEMU go; it runs on", load: () => import("./commands/detach.ts") },
    dumpxml: { summary: "print a domain's XML", load: () => import("./commands/dumpxml.ts") },
    domstate: { summary: "print a domain's state", load: () => import("./commands/domstate.ts") },
    dominfo: { summary: "describe a domain", load: () => import("./commands/dominfo.ts") },
    domfsfreeze: { summary: "freeze the guest's file systems", load: () => import("./commands/domfsfreeze.ts") },
    domfsthaw: { summary: "thaw the guest's file systems", load: () => import("./commands/domfsthaw.ts") },
  },
  Snapshots: {
    "snapshot-create": {
      summary: "take a snapshot as an XML file says",
      load: () => import("./commands/snapshot-create.ts"),
    },
    "snapshot-create-as": {
      summary: "take a snapshot as options say",
      load: () => import("./commands/snapshot-create-as.ts"),
    },
    "snapshot-list": { summary: "list a domain's snapshots", load: () => import("./commands/snapshot-list.ts") },
    "snapshot-info": { summary: "describe a snapshot", load: () => import("./commands/snapshot-info.ts") },
    "snapshot-dumpxml": { summary: "print a snapshot's XML", load: () => import("./commands/snapshot-dumpxml.ts") },
    "snapshot-current": {
      summary: "print the current snapshot, or choose it",
      load: () => import("./commands/snapshot-current.ts"),
    },
    "snapshot-parent": {
      summary: "print the name of a snapshot's parent",
      load: () => import("./commands/snapshot-parent.ts"),
    },
    "snapshot-edit": {
      summary: "change what is recorded about a snapshot",
      load: () => import("./commands/snapshot-edit.ts"),
    },
    "snapshot-revert": {
      summary: "put a domain back to a snapshot",
      load: () => import("./commands/snapshot-revert.ts"),
    },
    "snapshot-delete": {
      summary: "delete snapshots, or end a snapshot's mirrors",
      load: () => import("./commands/snapshot-delete.ts"),
    },
    "snapshot-mirror": {
      summary: "start a snapshot's broken mirrors again",
      load: () => import("./commands/snapshot-mirror.ts"),
    },
  },
  Disks: {
    domblklist: { summary: "list a domain's disks", load: () => import("./commands/domblklist.ts") },
    domblkinfo: { summary: "print the sizes of a disk", load: () => import("./commands/domblkinfo.ts") },
    domblkstat: { summary: "print what a disk has read and written", load: () => import("./commands/domblkstat.ts") },
    "attach-disk": { summary: "add a disk to a domain", load: () => import("./commands/attach-disk.ts") },
    "detach-disk": { summary: "take a disk away from a domain", load: () => import("./commands/detach-disk.ts") },
    blockcopy: { summary: "copy a disk while the domain runs", load: () => import("./commands/blockcopy.ts") },
    blockcommit: {
      summary: "merge upper layers of a disk into a lower one",
      load: () => import("./commands/blockcommit.ts"),
    },
    blockpull: {
      summary: "merge lower layers of a disk into the active one",
      load: () => import("./commands/blockpull.ts"),
    },
    blockjob: {
      summary: "show, limit or abort what is done to a domain's disks",
      load: () => import("./commands/blockjob.ts"),
    },
    blockresize: { summary: "change the size of a disk", load: () => import("./commands/blockresize.ts") },
    "migrate-storage": {
      summary: "move a running domain's disks to a directory",
      load: () => import("./commands/migrate-storage.ts"),
    },
    "clone-storage": {
      summary: "copy a running domain's disks, as of one moment, to a directory",
      load: () => import("./commands/clone-storage.ts"),
    },
  },
  "Operations and events": {
    "operation-list": { summary: "list operations", load: () => import("./commands/operation-list.ts") },
    "operation-watch": {
      summary: "follow an operation to its end",
      load: () => import("./commands/operation-watch.ts"),
    },
    "operation-cancel": {
      summary: "stop an operation and undo what it did",
      load: () => import("./commands/operation-cancel.ts"),
    },
    events: { summary: "print events as they happen", aliases: ["event"], load: () => import("./commands/events.ts") },
  },
  "This machine": {
    recover: {
      summary: "show what did not come to its end by itself, and end it",
      load: () => import("./commands/recover.ts"),
    },
    doctor: { summary: "check what this machine offers", load: () => import("./commands/doctor.ts") },
    completion: { summary: "print a shell's completion script", load: () => import("./commands/completion.ts") },
  },
};

export const commandTable: Commands = Object.assign({}, ...Object.values(commandGroups)) as Commands;
