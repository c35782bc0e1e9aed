/** Writes the cpio "newc" archive that Linux takes as an initramfs (kernel: Documentation/driver-api/early-userspace/buffer-format). */
export type ArchiveEntry =
  | { readonly type: "directory"; readonly path: string }
  | { readonly type: "file"; readonly path: string; readonly content: Buffer; readonly executable: boolean }
  | { readonly type: "character-device"; readonly path: string; readonly major: number; readonly minor: number };

/** The archive as bytes; parents must come before their children. The same entries give the same bytes: owner and time are 0. */
export function buildCpio(entries: readonly ArchiveEntry[]): Buffer {
  const parts = entries.map((entry, index) => buildEntry(index + 1, entry));
  parts.push(buildHeader({ inode: 0, mode: 0, name: "TRAILER!!!", sizeBytes: 0, major: 0, minor: 0 }));
  return Buffer.concat(parts);
}

function buildEntry(inode: number, entry: ArchiveEntry): Buffer {
  const common = { inode, name: entry.path, sizeBytes: 0, major: 0, minor: 0 };
  switch (entry.type) {
    case "directory":
      return buildHeader({ ...common, mode: 0o040755 });
    case "character-device":
      return buildHeader({ ...common, mode: 0o020600, major: entry.major, minor: entry.minor });
    case "file": {
      const mode = entry.executable ? 0o100755 : 0o100644;
      return pad(Buffer.concat([buildHeader({ ...common, mode, sizeBytes: entry.content.length }), entry.content]));
    }
  }
}

interface Header {
  readonly inode: number;
  readonly mode: number;
  readonly name: string;
  readonly sizeBytes: number;
  readonly major: number;
  readonly minor: number;
}

function buildHeader({ inode, mode, name, sizeBytes, major, minor }: Header): Buffer {
  // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
  const fields = [inode, mode, 0, 0, 1, 0, sizeBytes, 0, 0, major, minor, Buffer.byteLength(name) + 1, 0];
  const text = fields.map((field) => field.toString(16).padStart(8, "0")).join("");
  return pad(Buffer.from(`070701${text}${name}\0`));
}

/** Headers and contents end on a multiple of 4 bytes; a header's own length keeps that true for the whole archive. */
function pad(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
