/** What the reference says beyond the declarations. Backquotes mark what is typed. */
import type { Entry } from "./collect.ts";

export interface Section {
  readonly title: string;
  readonly paragraphs: readonly string[];
  readonly entries?: readonly Entry[];
}

export const introduction = [
  "`qmirror` talks to `qmirrord` over its UNIX socket. Commands, options and tables are virsh's where virsh has them.",
];

export const conventions: Section = {
  title: "Conventions",
  paragraphs: [
    "Without `--connect` the usual socket is used (see Environment), and a daemon is started when none listens there: it ends after 120 s without clients, running operations and running domains, and logs to `qmirrord.log` in the state directory.",
    "Each argument may be given by its name, as in virsh: `--domain vm`. `DOMAIN` is a name or a uuid. Relative paths are those of the shell. A rate is a number of MiB/s, or one with a suffix `B`, `K`, `M`, `G`, `T` (powers of 1024, per second); 0 is no limit.",
    'With `--json` stdout has one JSON document, or one line for each change of an operation and for each event. Errors are `{"error": …}` on stderr.',
    "Progress goes to stderr: a line that is redrawn on a terminal, elsewhere a line for each step and every five seconds. Ctrl-C stops watching, not the work, and prints how to get back to it; a second one ends `qmirror` at once.",
  ],
};

export const exitStatus: Section = {
  title: "Exit status",
  paragraphs: ["Errors are `error: …` on stderr, often with `next: …`, what to do about it."],
  entries: [
    { term: "0", text: "success" },
    { term: "1", text: "any other failure" },
    { term: "2", text: "wrong usage or input" },
    { term: "130", text: "cancelled, or ended by Ctrl-C" },
  ],
};

const directories: readonly Entry[] = [
  { term: "QMIRROR_STATE_DIR", text: "the state directory" },
  { term: "QMIRROR_RUNTIME_DIR", text: "the runtime directory" },
  { term: "QMIRROR_SOCKET", text: "the socket" },
  { term: "XDG_STATE_HOME, XDG_RUNTIME_DIR", text: "where the directories are by default, for users other than root" },
];

export const environment: Section = {
  title: "Environment",
  paragraphs: [],
  entries: [
    ...directories,
    { term: "VISUAL, EDITOR", text: "the editor of `snapshot-edit`, with its options; `vi` otherwise" },
  ],
};

export const daemonEnvironment: Section = { title: "Environment", paragraphs: [], entries: directories };

export const files: Section = {
  title: "Files",
  paragraphs: [
    "As root the state directory is `/var/lib/qmirror` and the runtime directory `/run/qmirror`; otherwise they are `qmirror` in `$XDG_STATE_HOME` (`~/.local/state`) and in `$XDG_RUNTIME_DIR`. With a state directory of your own, or without `$XDG_RUNTIME_DIR`, the runtime directory is `run` in the state directory.",
  ],
  entries: [
    { term: "qmirror.sock", text: "in the runtime directory: the daemon's socket" },
    { term: "qmirrord.log", text: "in the state directory: the log of a daemon that `qmirror` started" },
  ],
};

export const daemonText = {
  summary: "Snapshots and live storage migration for QEMU/KVM virtual machines: the daemon.",
  paragraphs: [
    "Runs in the foreground and logs JSON lines to stderr. SIGTERM and SIGINT end it; QEMUs run on, and the next daemon finds them again. One daemon uses a state directory at a time.",
  ],
  exitStatus: {
    title: "Exit status",
    paragraphs: [],
    entries: [
      { term: "0", text: "ended by a signal, or by `--timeout`" },
      { term: "1", text: "it could not start" },
      { term: "2", text: "wrong usage" },
    ],
  } satisfies Section,
};
