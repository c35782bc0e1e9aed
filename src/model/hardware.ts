/** Devices and settings of a `<domain>` that have one element each and little to say. */

export interface InputDevice {
  readonly type: "tablet" | "mouse" | "keyboard";
  readonly bus: "usb" | "virtio";
}

export const videoModels = ["none", "vga", "virtio"] as const;
export const inputTypes = ["tablet", "mouse", "keyboard"] as const;
/** `ps2` is in the machine anyway. */
export const inputBuses = ["usb", "virtio", "ps2"] as const;
export const rngSources = ["/dev/urandom", "/dev/random"] as const;

export interface Hardware {
  /** The whole `<metadata>` element as XML: other programs' notes, kept and given back. */
  readonly metadata?: string;
  /** `<pm>`: whether the guest is offered to sleep; absent: the machine's default. */
  readonly sleep?: { readonly toMemory?: boolean; readonly toDisk?: boolean };
  readonly usb?: "qemu-xhci";
  readonly inputs?: readonly InputDevice[];
  /** Absent: `vga` where there are graphics. */
  readonly video?: (typeof videoModels)[number];
  readonly balloon?: "virtio";
  /** What feeds the guest's random number generator. */
  readonly rng?: (typeof rngSources)[number];
}
