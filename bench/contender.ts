/** What is compared: something that boots a guest, mirrors all its disks, and moves the guest to the mirrors. */

export const contenderNames = ["ours", "floor", "libvirt"] as const;
export type ContenderName = (typeof contenderNames)[number];

export interface GuestDisk {
  readonly target: string;
  /** The image that the guest boots on. */
  readonly base: string;
  /** Made by `create`. */
  readonly overlay: string;
  /** Made by `create`. */
  readonly mirror: string;
}

export interface Guest {
  readonly name: string;
  /** A transient domain for either qmirror or libvirt. */
  readonly xml: string;
  readonly disks: readonly GuestDisk[];
}

export interface Contender {
  readonly name: ContenderName;
  /** Resolves when QEMU runs. */
  boot(guest: Guest): Promise<void>;
  /** From the request until every disk has its overlay, and a mirror that is ready. Called once a guest. */
  create(guest: Guest): Promise<void>;
  /** From the request until every disk's guest I/O goes to its mirror and nothing is left to do. */
  pivot(guest: Guest): Promise<void>;
  destroy(guest: Guest): Promise<void>;
  /** Ends guests that still run, and whatever else was started. */
  close(): Promise<void>;
}
