/** Chooses a QEMU's dialect by what it can do, never by its version. */
import { QmError } from "../../base/errors.ts";
import type { Monitor } from "../monitor.ts";
import { blockdevCommands, blockdevDialect } from "./blockdev.ts";
import type { DialectName, ImageCreator, MirrorDialect } from "./dialect.ts";
import { createDriveDialect, driveCommands } from "./drive.ts";
import { createReopenDialect, reopenCommands } from "./reopen.ts";

export function dialectByName(name: DialectName, createImage: ImageCreator): MirrorDialect {
  switch (name) {
    case "blockdev":
      return blockdevDialect;
    case "drive":
      return createDriveDialect(createImage);
    case "reopen":
      return createReopenDialect({ prefix: "", createImage });
    case "redhat":
      return createReopenDialect({ prefix: "__com.redhat_", createImage });
  }
}

const candidates: readonly { name: DialectName; commands: readonly string[] }[] = [
  { name: "blockdev", commands: blockdevCommands },
  { name: "drive", commands: driveCommands },
  { name: "reopen", commands: reopenCommands("") },
  { name: "redhat", commands: reopenCommands("__com.redhat_") },
];

/** The best dialect of which no command is missing. `QM_QEMU_TOO_OLD` names what the best one would need. */
export function chooseDialect(commands: ReadonlySet<string>): DialectName {
  const found = candidates.find((candidate) => candidate.commands.every((command) => commands.has(command)));
  if (found !== undefined) return found.name;
  throw new QmError("QM_QEMU_TOO_OLD", {
    missing: blockdevCommands.filter((command) => !commands.has(command)).join(", "),
  });
}

const probed = new WeakMap<Monitor, Promise<DialectName>>();

/** Asks QEMU once for each connection (`query-commands`). */
export function probeDialect(monitor: Monitor): Promise<DialectName> {
  const known = probed.get(monitor);
  if (known !== undefined) return known;
  const asked = monitor
    .execute("query-commands")
    .then((commands) => chooseDialect(new Set(commands.map((command) => command.name))));
  probed.set(monitor, asked);
  return asked;
}
