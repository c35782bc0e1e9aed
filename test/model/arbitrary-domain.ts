/** Generators of definitions that are as `parseDomain` would give them. */
import fc from "fast-check";
import type { AgentChannel, Disk, DomainDefinition, NetworkInterface, VncGraphics } from "../../src/model/domain.ts";
import { inputTypes, rngSources, videoModels } from "../../src/model/hardware.ts";
import { diskFormats, makeNetworkImage, type ImageRef } from "../../src/model/image.ts";
import type { HttpSource, NbdSource, NetworkHost, RbdSource } from "../../src/model/network-source.ts";
import type { DiskMirror } from "../../src/model/snapshot.ts";

/** Any text that XML can carry. */
export const xmlText = fc
  .string({ unit: "binary", maxLength: 20 })
  // oxlint-disable-next-line no-control-regex
  .map((text) => text.replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, ""));
const plain = fc
  .string({ unit: "binary", maxLength: 20 })
  // oxlint-disable-next-line no-control-regex
  .map((text) => text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufffe\uffff/]/g, ""));
export const domainName = plain.map((text) => text.trim().replace(/^\.+/, "").trim()).map((name) => `n${name}`);
export const path = fc
  .array(
    plain.map((part) => `p${part}`),
    { minLength: 1, maxLength: 4 },
  )
  .map((p) => `/${p.join("/")}`);
const word = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,12}$/);

/** `fc.record` with ordinary objects: deepEqual compares prototypes. */
const record = <T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true });

export const image: fc.Arbitrary<ImageRef> = record({
  type: fc.constantFrom("file" as const, "block" as const),
  path,
  format: fc.constantFrom(...diskFormats),
});

const host: fc.Arbitrary<NetworkHost> = record({
  name: fc.constantFrom("h", "nbd.example", "10.0.0.1", "2001:db8::1"),
  port: fc.integer({ min: 1, max: 65535 }),
});
const networkName = plain.map((text) => text.replace(/^\/+/, ""));
const nbd: fc.Arbitrary<NbdSource> = record({
  protocol: fc.constant("nbd" as const),
  server: fc.oneof(host, record({ socket: path })),
  exportName: networkName,
});
const rbd: fc.Arbitrary<RbdSource> = record({
  protocol: fc.constant("rbd" as const),
  pool: fc.stringMatching(/^[\w.+-]{1,8}$/),
  image: fc.stringMatching(/^[\w.+-]{1,8}$/),
  hosts: fc.array(host, { maxLength: 3 }),
  config: optional(path),
}).map((source) => compact(source) as RbdSource);
const http: fc.Arbitrary<HttpSource> = record({
  protocol: fc.constantFrom("http" as const, "https" as const),
  host,
  file: networkName.map((name) => `f${name}`),
  query: optional(fc.constantFrom("a=b&c=%20", "x")),
}).map((source) => compact(source) as HttpSource);

export const networkSource = fc.oneof(nbd, rbd, http);

/** Any image that can be below another. */
export const anyImage: fc.Arbitrary<ImageRef> = fc.oneof(
  image,
  fc.tuple(networkSource, fc.constantFrom(...diskFormats)).map(([source, format]) => makeNetworkImage(source, format)),
);

export const mirror: fc.Arbitrary<DiskMirror> = record({
  target: image,
  state: fc.constantFrom("starting", "ready", "broken", "lost"),
});

/** An object without the keys whose value is `undefined`, as `exactOptionalPropertyTypes` wants it. */
function compact<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T;
}

function optional<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.option(arbitrary, { nil: undefined });
}

function diskOf(target: string, bootIndex: number | undefined): fc.Arbitrary<Disk> {
  return record({
    bus: fc.constantFrom("virtio" as const, "scsi" as const, "sata" as const),
    isCdrom: fc.boolean(),
    isEmpty: fc.boolean(),
    source: anyImage,
    statedBacking: optional(fc.array(anyImage, { maxLength: 3 })),
    cache: optional(fc.constantFrom("none", "writeback", "writethrough", "directsync", "unsafe")),
    io: optional(fc.constantFrom("threads", "io_uring")),
    discard: optional(fc.constantFrom("unmap", "ignore")),
    detectZeroes: optional(fc.constantFrom("off", "on", "unmap")),
    readonly: fc.boolean(),
    serial: optional(fc.stringMatching(/^[A-Za-z0-9_.+-]{1,20}$/)),
  }).map(({ isCdrom, isEmpty, bus, source, readonly, statedBacking, io, ...rest }) => {
    const isNetwork = source.type === "network" && !(isCdrom && isEmpty);
    const isHttp = source.network?.protocol.startsWith("http") === true && isNetwork;
    const disk = {
      target,
      bus: isCdrom && bus === "virtio" ? "sata" : bus,
      device: isCdrom ? "cdrom" : "disk",
      source: isCdrom && isEmpty ? undefined : source,
      ...rest,
      statedBacking: statedBacking ?? (isNetwork && source.format === "qcow2" ? [] : undefined),
      io: isNetwork ? undefined : io,
      readonly: readonly || isCdrom || isHttp,
      bootIndex,
    };
    return compact(disk) as Disk;
  });
}

const targets = ["vda", "vdb", "sda", "hdaa"];
export const disks: fc.Arbitrary<readonly Disk[]> = record({
  targets: fc.subarray(targets),
  boots: fc.boolean(),
}).chain((chosen) => fc.tuple(...chosen.targets.map((t, i) => diskOf(t, chosen.boots ? i + 1 : undefined))));

const nic: fc.Arbitrary<NetworkInterface> = record({
  bridge: optional(fc.constant("br-0.1")),
  mac: optional(fc.constant("52:54:00:12:34:56")),
  model: fc.constantFrom("virtio", "e1000e"),
}).map((n) => compact({ type: n.bridge === undefined ? "user" : "bridge", ...n }) as NetworkInterface);

const graphics: fc.Arbitrary<VncGraphics> = fc.oneof(
  path.map((socket) => ({ autoport: false, listen: "127.0.0.1", socket })),
  fc.constantFrom("0.0.0.0", "::1").map((listen) => ({ autoport: true, listen })),
  fc.integer({ min: 5900, max: 65535 }).map((port) => ({ port, autoport: false, listen: "127.0.0.1" })),
);

export const domain: fc.Arbitrary<DomainDefinition> = record({
  type: fc.constantFrom("kvm" as const, "qemu" as const),
  name: domainName,
  uuid: fc.uuid(),
  title: optional(xmlText.map((text) => text.replaceAll(/[\r\n]/g, ""))),
  description: optional(xmlText),
  memoryBytes: fc.integer({ min: 1, max: 2 ** 40 }).map((kib) => kib * 1024),
  vcpus: fc.integer({ min: 1, max: 1024 }),
  arch: fc.oneof(fc.constant("x86_64"), word),
  machine: optional(word),
  kernel: optional(path),
  initrd: optional(path),
  cmdline: optional(xmlText),
  bootOrder: fc.array(fc.constantFrom("hd" as const, "cdrom" as const, "network" as const), { maxLength: 3 }),
  features: fc.subarray(["acpi" as const, "apic" as const]),
  cpuModel: optional(word),
  emulator: optional(path),
  metadata: optional(
    fc.constantFrom(
      "<metadata/>\n",
      `<metadata>\n  <a:b c='1' xmlns:a='urn:x'>\n    <a:d>t</a:d>\n  </a:b>\n</metadata>\n`,
    ),
  ),
  usb: optional(fc.constant("qemu-xhci" as const)),
  inputs: optional(
    fc.array(
      record({ type: fc.constantFrom(...inputTypes), bus: fc.constantFrom("usb" as const, "virtio" as const) }),
      {
        minLength: 1,
        maxLength: 2,
      },
    ),
  ),
  video: optional(fc.constantFrom(...videoModels)),
  balloon: optional(fc.constant("virtio" as const)),
  rng: optional(fc.constantFrom(...rngSources)),
  sleep: optional(record({ toMemory: optional(fc.boolean()), toDisk: optional(fc.boolean()) }).map(compact)),
  disks,
  interfaces: fc.array(nic, { maxLength: 2 }),
  serials: fc.array(record({ type: fc.constantFrom("file" as const, "unix" as const), path }), { maxLength: 2 }),
  graphics: optional(graphics),
  agentChannel: optional(
    optional(path).map((p) => compact({ path: p, name: "org.qemu.guest_agent.0" }) as AgentChannel),
  ),
  qemuArgs: fc.array(xmlText, { maxLength: 3 }),
  qemuEnv: fc.dictionary(fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,5}$/), xmlText, {
    maxKeys: 3,
    noNullPrototype: true,
  }),
}).map(({ kernel, initrd, cmdline, bootOrder, sleep, ...rest }) => {
  const hasDiskOrder = rest.disks.some(({ bootIndex }) => bootIndex !== undefined);
  const os = compact({ kernel, initrd, cmdline, bootOrder: hasDiskOrder ? [] : bootOrder });
  const isX86 = rest.arch === "x86_64" || rest.arch === "i686";
  return compact({ ...rest, sleep: isX86 ? sleep : undefined, os }) as DomainDefinition;
});
