/**
 * The block devices of a QEMU of 2012: what `transaction`, `drive-mirror` and `drive-reopen` do to them, and where every write
 * of the guest has gone. Images are logs of writes; their files must exist where QEMU would have opened them.
 */
import { existsSync, writeFileSync } from "node:fs";
import { FakeQmpError } from "./qmp-error.ts";

export interface FakeDevice {
  /** The device's name in the monitor, `drive-virtio-disk0`. */
  readonly device: string;
  /** The image that it has open at first. */
  readonly file: string;
  readonly format: string;
  readonly sizeBytes: number;
}

/**
 * `job`: a job copies what the guest has dirtied; `drive-reopen` waits for it. `driver`: a driver above the image writes to both,
 * and copies nothing that was there before. See src/qemu/mirror-dialect/reopen-view.ts.
 */
export type MirrorStyle = "job" | "driver";

interface Mirror {
  readonly target: string;
  readonly format: string;
  readonly speed: number;
  /** Written to the target, but complete in its file only when it is closed: a killed QEMU loses it. */
  readonly written: readonly string[];
  /** Not copied yet. */
  readonly dirty: readonly string[];
  /** Still in its first pass, until the test lets it go on. */
  readonly held: boolean;
}

interface DeviceState {
  readonly file: string | undefined;
  readonly format: string;
  readonly backing: string | undefined;
  readonly sizeBytes: number;
  readonly mirror?: Mirror;
}

type Arguments = Readonly<Record<string, unknown>>;

const knownFormats: ReadonlySet<unknown> = new Set(["qcow2", "raw", "qed"]);

export class BlockDevices {
  readonly #style: MirrorStyle;
  readonly #failures = new Map<string, string>();
  readonly #images = new Map<string, string[]>();
  #devices: ReadonlyMap<string, DeviceState>;

  constructor(devices: readonly FakeDevice[], style: MirrorStyle) {
    this.#style = style;
    this.#devices = new Map(
      devices.map(({ device, file, format, sizeBytes }) => [device, { file, format, backing: undefined, sizeBytes }]),
    );
  }

  /** Prepares every action on a copy of the state, and takes the copy only when all of them could be: all or nothing. */
  transaction(actions: readonly { readonly kind: "snapshot" | "mirror"; readonly data: Arguments }[]): void {
    const next = new Map(this.#devices);
    for (const { kind, data } of actions) {
      const device = String(data["device"]);
      const state = requireDevice(next, device);
      if (state.file === undefined) {
        throw new FakeQmpError("DeviceHasNoMedium", `Device '${device}' has no medium`, { device });
      }
      if (state.mirror !== undefined) throw inUse(device);
      next.set(device, kind === "snapshot" ? this.#snapshot(state, data) : this.#mirror(state, data));
    }
    this.#devices = next;
  }

  /** As RHEL's: the mirror is ended first, and where the new image cannot be opened, the old one is opened again. */
  reopen(args: Arguments): void {
    const device = String(args["device"]);
    const state = requireDevice(this.#devices, device);
    const { mirror } = state;
    const rest = withoutMirror(state);
    if (mirror !== undefined) this.#close(mirror);
    if (mirror?.held === true) {
      this.#set(device, rest);
      throw inUse(device);
    }
    if (args["witness"] !== undefined) {
      const name = String(args["witness"]);
      throw new FakeQmpError("FdNotFound", `File descriptor named '${name}' has not been found`, { name });
    }
    const format = this.#format(args, state.format);
    const file = String(args["new-image-file"]);
    try {
      this.#open(file, "existing");
    } catch (error) {
      // The driver's name cannot be opened without the image that it was put upon: then nothing is left.
      const lost = mirror !== undefined && this.#style === "driver";
      this.#set(device, lost ? { ...rest, file: undefined } : rest);
      throw error;
    }
    this.#set(device, { ...rest, file, format, backing: undefined });
  }

  /** The guest's write, acknowledged when this returns. */
  write(device: string, data: string): void {
    const state = requireDevice(this.#devices, device);
    if (state.file === undefined) throw new Error(`${device} has no medium`);
    this.#image(state.file).push(data);
    const { mirror } = state;
    if (mirror === undefined) return;
    this.#set(device, {
      ...state,
      mirror: mirror.held
        ? { ...mirror, dirty: [...mirror.dirty, data] }
        : { ...mirror, written: [...mirror.written, data] },
    });
  }

  /** What the guest has written to this image itself, not to those below it. */
  writesIn(file: string): readonly string[] {
    const open = [...this.#devices.values()].find(({ mirror }) => mirror?.target === file)?.mirror;
    return [...(this.#images.get(file) ?? []), ...(open?.written ?? [])];
  }

  activeFile(device: string): string | undefined {
    return requireDevice(this.#devices, device).file;
  }

  setHeld(device: string, held: boolean): void {
    const { state, mirror } = this.#requireJob(device);
    this.#set(device, {
      ...state,
      mirror: held
        ? { ...mirror, held }
        : { ...mirror, held, written: [...mirror.written, ...mirror.dirty], dirty: [] },
    });
  }

  /** Ends the job as a failed write to its target does. Returns the job as it was. */
  breakMirror(device: string): Arguments {
    const { state, mirror } = this.#requireJob(device);
    this.#set(device, withoutMirror(state));
    return describeJob(device, state, mirror);
  }

  /** What a killed QEMU leaves: mirrors that were not closed have lost what was written to them. */
  kill(): void {
    this.#devices = new Map([...this.#devices].map(([device, state]) => [device, withoutMirror(state)]));
  }

  failOpen(file: string, reason: string): void {
    this.#failures.set(file, reason);
  }

  describe(): unknown[] {
    return [...this.#devices].map(([device, state]) => ({
      device,
      type: "unknown",
      locked: false,
      removable: false,
      ...(state.file === undefined ? {} : { inserted: this.#describeInserted(state, state.file) }),
    }));
  }

  describeJobs(): unknown[] {
    if (this.#style === "driver") return [];
    return [...this.#devices].flatMap(([device, state]) =>
      state.mirror === undefined ? [] : [describeJob(device, state, state.mirror)],
    );
  }

  #describeInserted({ backing, format, mirror }: DeviceState, file: string) {
    const image =
      mirror !== undefined && this.#style === "driver"
        ? { file: `blkmirror:${mirror.format}:${mirror.target}`, drv: "blkmirror", backing_file: file }
        : { file, drv: format, ...(backing === undefined ? {} : { backing_file: backing }) };
    return { ...image, ro: false, encrypted: false, bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 };
  }

  #snapshot(state: DeviceState, data: Arguments): DeviceState {
    const format = this.#format(data, "qcow2");
    const file = String(data["snapshot-file"]);
    this.#open(file, data["mode"]);
    return { ...state, file, format, backing: state.file };
  }

  #mirror(state: DeviceState, data: Arguments): DeviceState {
    const format = this.#format(data, state.format);
    const target = String(data["target"]);
    this.#open(target, data["mode"]);
    const layers = data["full"] === true ? [state.backing, state.file] : [state.file];
    const older = layers.flatMap((file) => (file === undefined ? [] : (this.#images.get(file) ?? [])));
    const speed = typeof data["speed"] === "number" ? data["speed"] : 0;
    const written = this.#style === "job" ? older : [];
    return { ...state, mirror: { target, format, speed, written, dirty: [], held: false } };
  }

  #format(args: Arguments, otherwise: string): string {
    const format = args["format"] ?? otherwise;
    if (knownFormats.has(format)) return String(format);
    throw new FakeQmpError("InvalidBlockFormat", `Invalid block format '${String(format)}'`, { name: format });
  }

  #open(file: string, mode: unknown): void {
    if (mode !== "existing") writeFileSync(file, "");
    const reason = this.#failures.get(file) ?? (existsSync(file) ? undefined : "No such file or directory");
    if (reason === undefined) return;
    throw new FakeQmpError("OpenFileFailed", `Could not open '${file}': ${reason}`, { filename: file });
  }

  #close(mirror: Mirror): void {
    this.#image(mirror.target).push(...mirror.written);
  }

  #image(file: string): string[] {
    const image = this.#images.get(file) ?? [];
    this.#images.set(file, image);
    return image;
  }

  #set(device: string, state: DeviceState): void {
    this.#devices = new Map(this.#devices).set(device, state);
  }

  #requireJob(device: string): { state: DeviceState; mirror: Mirror } {
    const state = requireDevice(this.#devices, device);
    if (state.mirror === undefined || this.#style !== "job") throw new Error(`${device} has no mirror job`);
    return { state, mirror: state.mirror };
  }
}

function withoutMirror({ file, format, backing, sizeBytes }: DeviceState): DeviceState {
  return { file, format, backing, sizeBytes };
}

function describeJob(device: string, { sizeBytes: len }: DeviceState, mirror: Mirror): Arguments {
  return { type: "mirror", device, len, offset: mirror.held ? 0 : len, speed: mirror.speed };
}

function requireDevice(devices: ReadonlyMap<string, DeviceState>, device: string): DeviceState {
  const state = devices.get(device);
  if (state === undefined) throw new FakeQmpError("DeviceNotFound", `Device '${device}' not found`, { device });
  return state;
}

function inUse(device: string): FakeQmpError {
  return new FakeQmpError("DeviceInUse", `Device '${device}' is in use`, { device });
}
