import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import type { DomainDefinition } from "../../src/model/domain.ts";
import { makeNetworkImage } from "../../src/model/image.ts";
import { buildCommandLine, chooseEmulator } from "../../src/qemu/command-line.ts";
import { sampleDisk, sampleDomain, samplePaths, sampleUuid } from "./sample-domain.ts";

const image = (name: string, format: "qcow2" | "raw" = "qcow2") =>
  ({ type: "file", path: `/img/${name}`, format }) as const;

/** Values of one option, decoded where they are JSON. */
function valuesOf(args: readonly string[], option: string): unknown[] {
  return args.flatMap((arg, index) => {
    const value = args[index + 1] ?? "";
    return arg === option ? [value.startsWith("{") ? (JSON.parse(value) as unknown) : value] : [];
  });
}

function build(changes: Partial<DomainDefinition>, paths = samplePaths("/r")): string[] {
  return buildCommandLine(sampleDomain(changes), paths);
}

describe("buildCommandLine", () => {
  it("writes a whole domain", () => {
    const chain = [image("vda.s1"), image("vda.qcow2")] as const;
    const args = build(
      {
        type: "kvm",
        vcpus: 2,
        os: { kernel: "/k", initrd: "/i", cmdline: "console=ttyS0,115200", bootOrder: [] },
        disks: [
          sampleDisk({ source: chain[0], cache: "none", io: "native", discard: "unmap", bootIndex: 1, serial: "a,b" }),
        ],
        interfaces: [{ type: "user", model: "virtio", mac: "52:54:00:00:00:01" }],
        serials: [{ type: "file", path: "/log/serial,1" }],
        graphics: { autoport: true, listen: "127.0.0.1" },
        agentChannel: { name: "org.qemu.guest_agent.0" },
        qemuArgs: ["-trace", "help"],
      },
      samplePaths("/r", { chains: { vda: chain }, startPaused: true }),
    );
    const cache = '"cache":{"direct":true,"no-flush":false}';
    assert.deepEqual(args, [
      ...["-name", "guest=web,process=qemu:web", "-uuid", sampleUuid],
      ...["-nodefaults", "-no-user-config", "-display", "none"],
      ...["-machine", "type=q35,accel=kvm,acpi=on", "-cpu", "host", "-m", "size=67108864b", "-smp", "2"],
      ...["-boot", "strict=on", "-kernel", "/k", "-initrd", "/i", "-append", "console=ttyS0,115200"],
      ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
      ...[
        "-chardev",
        "socket,id=qm-qmp,path=/r/run/qmp.sock,server=on,wait=off",
        "-mon",
        "chardev=qm-qmp,mode=control",
      ],
      ...["-pidfile", "/r/run/qemu.pid", "-S"],
      "-blockdev",
      `{"driver":"file","filename":"/img/vda.qcow2","node-name":"qm-vda-1s","auto-read-only":true,"discard":"unmap",${cache},"aio":"native"}`,
      "-blockdev",
      `{"driver":"qcow2","node-name":"qm-vda-1","read-only":true,${cache},"file":"qm-vda-1s","backing":null}`,
      "-blockdev",
      `{"driver":"file","filename":"/img/vda.s1","node-name":"qm-vda-0s","auto-read-only":true,"discard":"unmap",${cache},"aio":"native"}`,
      "-blockdev",
      `{"driver":"qcow2","node-name":"qm-vda-0","read-only":false,${cache},"discard":"unmap","file":"qm-vda-0s","backing":"qm-vda-1"}`,
      "-device",
      '{"driver":"virtio-blk-pci","id":"vda","drive":"qm-vda-0","write-cache":"on","serial":"a,b","bootindex":1}',
      ...["-netdev", "user,id=qm-net0"],
      ...["-device", '{"driver":"virtio-net-pci","id":"qm-net0-card","netdev":"qm-net0","mac":"52:54:00:00:00:01"}'],
      ...["-chardev", "file,id=qm-serial0,path=/log/serial,,1,append=on", "-serial", "chardev:qm-serial0"],
      ...["-vnc", "127.0.0.1:0,to=99", "-device", '{"driver":"VGA","id":"qm-video0"}'],
      ...["-chardev", "socket,id=qm-agent,path=/r/run/agent.sock,server=on,wait=off"],
      ...["-device", '{"driver":"virtio-serial-pci","id":"qm-vserial0"}'],
      "-device",
      '{"driver":"virtserialport","id":"qm-agent0","bus":"qm-vserial0.0","chardev":"qm-agent","name":"org.qemu.guest_agent.0"}',
      ...["-trace", "help"],
    ]);
  });

  it("keeps commas and quotes in names and paths from becoming options", () => {
    const path = '/img/a,driver=x","evil":"1.raw';
    const args = build(
      {
        name: "a,process=x,debug-threads=on",
        disks: [sampleDisk({ source: { type: "file", path, format: "raw" }, serial: '","drive":"other' })],
        serials: [{ type: "unix", path: "/s,server=off" }],
        interfaces: [{ type: "bridge", bridge: "br0,helper=/bin/sh", model: "virtio" }],
      },
      samplePaths("/r,wait=on"),
    );
    assert.deepEqual(valuesOf(args, "-name"), [
      "guest=a,,process=x,,debug-threads=on,process=qemu:a,,process=x,,debug-threads=on",
    ]);
    assert.deepEqual(valuesOf(args, "-netdev"), ["bridge,id=qm-net0,br=br0,,helper=/bin/sh"]);
    assert.deepEqual(valuesOf(args, "-chardev"), [
      "socket,id=qm-qmp,path=/r,,wait=on/run/qmp.sock,server=on,wait=off",
      "socket,id=qm-serial0,path=/s,,server=off,server=on,wait=off",
    ]);
    const [file] = valuesOf(args, "-blockdev") as { filename: string; evil?: string }[];
    assert.equal(file?.filename, path);
    assert.equal(file.evil, undefined);
    const [disk] = valuesOf(args, "-device") as { drive: string; serial: string }[];
    assert.equal(disk?.drive, "qm-vda-0");
    assert.equal(disk.serial, '","drive":"other');
  });

  it("refuses what QEMU reads without quoting", () => {
    const bad: Partial<DomainDefinition>[] = [
      { cpuModel: "host,migratable=off" },
      { interfaces: [{ type: "user", model: "virtio,x=y" }] },
      { disks: [sampleDisk({ target: "vda,id=x", source: image("a", "raw") })] },
      { disks: [sampleDisk({ target: "a".repeat(40), source: image("a", "raw") })] },
      { disks: [sampleDisk({ device: "cdrom", source: image("a", "raw") })] },
      { interfaces: [{ type: "bridge", model: "virtio" }] },
      { graphics: { autoport: false, port: 80, listen: "0.0.0.0" } },
    ];
    for (const changes of bad) {
      assert.throws(
        () => build(changes),
        (error) => isQmError(error, "QM_INVALID"),
        JSON.stringify(changes),
      );
    }
  });

  it("never leaves a backing chain to QEMU", () => {
    const chains = (...chain: [ReturnType<typeof image>, ...ReturnType<typeof image>[]]) =>
      samplePaths("/r", { chains: { vda: chain } });
    const refused = [
      samplePaths("/r"),
      chains(image("other.qcow2")),
      chains(image("vda.qcow2", "raw")),
      chains(image("vda.qcow2"), image("raw", "raw"), image("base")),
    ];
    for (const paths of refused) {
      assert.throws(
        () => build({ disks: [sampleDisk()] }, paths),
        (error) => isQmError(error, "QM_CHAIN_BROKEN"),
      );
    }
    const args = build({ disks: [sampleDisk()] }, chains(image("vda.qcow2"), image("base.raw", "raw")));
    const nodes = valuesOf(args, "-blockdev") as Record<string, unknown>[];
    assert.deepEqual(
      nodes.map((node) => [node["node-name"], node["driver"], node["backing"]]),
      [
        ["qm-vda-1s", "file", undefined],
        ["qm-vda-1", "raw", undefined],
        ["qm-vda-0s", "file", undefined],
        ["qm-vda-0", "qcow2", "qm-vda-1"],
      ],
    );
  });

  it("turns cache modes into node flags and the guest's write cache", () => {
    const flags = (["none", "writeback", "writethrough", "directsync", "unsafe"] as const).map((cache) => {
      const args = build({ disks: [sampleDisk({ source: image("a", "raw"), cache })] });
      const [file] = valuesOf(args, "-blockdev") as { cache: Record<string, boolean> }[];
      const [device] = valuesOf(args, "-device") as Record<string, string>[];
      return [cache, file?.cache["direct"], file?.cache["no-flush"], device?.["write-cache"]];
    });
    assert.deepEqual(flags, [
      ["none", true, false, "on"],
      ["writeback", false, false, "on"],
      ["writethrough", false, false, "off"],
      ["directsync", true, false, "off"],
      ["unsafe", false, true, "on"],
    ]);
  });

  it("asks QEMU for detect-zeroes=unmap only together with discard", () => {
    const zeroes = (discard?: "unmap") => {
      const disk = sampleDisk({
        source: image("a", "raw"),
        detectZeroes: "unmap",
        ...(discard === undefined ? {} : { discard }),
      });
      return (valuesOf(build({ disks: [disk] }), "-blockdev") as Record<string, unknown>[])[1]?.["detect-zeroes"];
    };
    assert.deepEqual([zeroes(), zeroes("unmap")], ["on", "unmap"]);
  });

  it("places scsi and sata disks on their controllers", () => {
    const disks = [
      sampleDisk({ target: "sda", bus: "scsi", source: image("a", "raw") }),
      { target: "sdb", bus: "scsi", device: "cdrom", readonly: true } as const,
      ...Array.from({ length: 7 }, (_, n) =>
        sampleDisk({ target: `sx${n}`, bus: "sata", source: image(`x${n}`, "raw") }),
      ),
    ];
    const devices = (machine: string) =>
      (valuesOf(build({ machine, disks }), "-device") as Record<string, unknown>[]).map(
        (device) => `${String(device["driver"])} ${String(device["id"])} ${String(device["bus"] ?? "")}`,
      );
    const q35 = devices("pc-q35-7.2");
    assert.deepEqual(q35.slice(0, 5), [
      "virtio-scsi-pci qm-scsi0 ",
      "ich9-ahci qm-sata1 ",
      "scsi-hd sda qm-scsi0.0",
      "scsi-cd sdb qm-scsi0.0",
      "ide-hd sx0 ide.0",
    ]);
    assert.equal(q35.at(-1), "ide-hd sx6 qm-sata1.0");
    assert.deepEqual(devices("pc").slice(1, 3), ["ich9-ahci qm-sata0 ", "ich9-ahci qm-sata1 "]);
  });

  it("derives boot indexes from <boot dev> where no disk has its own", () => {
    const disks = [
      sampleDisk({ source: image("a", "raw") }),
      { target: "sda", bus: "sata", device: "cdrom", readonly: true } as const,
    ];
    const interfaces = [{ type: "user", model: "e1000" }] as const;
    const boots = (changes: Partial<DomainDefinition>) =>
      (valuesOf(build({ interfaces, disks, ...changes }), "-device") as Record<string, unknown>[]).map(
        (d) => d["bootindex"],
      );
    assert.deepEqual(boots({ os: { bootOrder: ["cdrom", "network", "hd"] } }), [3, 1, 2]);
    const own = [sampleDisk({ source: image("a", "raw"), bootIndex: 7 })];
    assert.deepEqual(boots({ os: { bootOrder: ["network"] }, disks: own }), [7, undefined]);
  });

  it("names images on the network by their parts, which cannot become options", () => {
    const evil = 'x","tls-creds":"y,z=1';
    const host = { name: "::1", port: 1 };
    const nbd = makeNetworkImage({ protocol: "nbd", server: { socket: `/${evil}` }, exportName: evil }, "raw");
    const tcp = makeNetworkImage({ protocol: "nbd", server: host, exportName: "" }, "raw");
    const rbd = makeNetworkImage(
      { protocol: "rbd", pool: "p", image: "i", hosts: [host], config: "/etc/ceph/x.conf" },
      "raw",
    );
    const http = makeNetworkImage({ protocol: "https", host: { name: "h", port: 443 }, file: "a b" }, "qcow2");
    const top = image("vdd.qcow2");
    const disks = [
      sampleDisk({ source: nbd, cache: "none", discard: "unmap", detectZeroes: "unmap" }),
      sampleDisk({ target: "vdb", source: tcp, io: "threads" }),
      sampleDisk({ target: "vdc", source: rbd, readonly: true }),
      sampleDisk({ target: "vdd", source: top }),
    ];
    const args = build({ disks }, samplePaths("/r", { chains: { vdd: [top, http, image("base", "raw")] } }));
    const nodes = valuesOf(args, "-blockdev") as Record<string, unknown>[];
    const at = (name: string) => nodes.find((node) => node["node-name"] === name);
    const common = { "auto-read-only": true, discard: "unmap" };
    const cache = { direct: true, "no-flush": false };
    assert.deepEqual(at("qm-vda-0s"), {
      ...{ driver: "nbd", server: { type: "unix", path: `/${evil}` }, export: evil, "node-name": "qm-vda-0s" },
      ...{ ...common, cache },
    });
    assert.deepEqual(at("qm-vda-0"), {
      ...{ driver: "raw", "node-name": "qm-vda-0", "read-only": false, cache, discard: "unmap" },
      ...{ "detect-zeroes": "unmap", file: "qm-vda-0s" },
    });
    const inet = { type: "inet", host: "::1", port: "1" };
    assert.deepEqual(at("qm-vdb-0s"), { driver: "nbd", server: inet, "node-name": "qm-vdb-0s", ...common });
    const monitors = [{ host: "::1", port: "1" }];
    assert.deepEqual(at("qm-vdc-0s"), {
      ...{ driver: "rbd", pool: "p", image: "i", server: monitors, conf: "/etc/ceph/x.conf", "node-name": "qm-vdc-0s" },
      ...common,
    });
    assert.equal(at("qm-vdc-0")?.["read-only"], true);
    assert.deepEqual(at("qm-vdd-1s"), {
      ...{ driver: "https", url: "https://h/a%20b", "node-name": "qm-vdd-1s" },
      ...common,
    });
    assert.deepEqual(
      ["qm-vdd-0", "qm-vdd-1"].map((name) => [at(name)?.["backing"], at(name)?.["read-only"]]),
      [
        ["qm-vdd-1", false],
        ["qm-vdd-2", true],
      ],
    );
  });

  it("adds what virt-install likes to have after all other devices", () => {
    const args = build({
      sleep: { toMemory: false, toDisk: true },
      inputs: [
        { type: "tablet", bus: "usb" },
        { type: "keyboard", bus: "usb" },
        { type: "mouse", bus: "virtio" },
      ],
      video: "virtio",
      balloon: "virtio",
      rng: "/dev/urandom",
      interfaces: [{ type: "user", model: "virtio" }],
    });
    const devices = valuesOf(args, "-device") as Record<string, unknown>[];
    assert.deepEqual(
      devices.map(({ driver, bus }) => [driver, bus]),
      [
        ["virtio-net-pci", undefined],
        ["virtio-vga", undefined],
        ["qemu-xhci", undefined],
        ["usb-tablet", "qm-usb0.0"],
        ["usb-kbd", "qm-usb0.0"],
        ["virtio-mouse-pci", undefined],
        ["virtio-balloon-pci", undefined],
        ["virtio-rng-pci", undefined],
      ],
    );
    assert.deepEqual(valuesOf(args, "-global"), ["ICH9-LPC.disable_s3=1", "ICH9-LPC.disable_s4=0"]);
    const graphics = { autoport: true, listen: "127.0.0.1" };
    assert.deepEqual(valuesOf(build({ graphics, video: "none" }), "-device"), []);
    assert.deepEqual(valuesOf(build({ machine: "pc", sleep: { toDisk: false } }), "-global"), [
      "PIIX4_PM.disable_s4=1",
    ]);
  });

  it("lets QEMU start the bridge helper only for a bridge", () => {
    const args = build({ interfaces: [{ type: "bridge", bridge: "br0", model: "virtio" }] });
    assert.deepEqual(valuesOf(args, "-sandbox"), ["on,obsolete=deny,resourcecontrol=deny"]);
  });

  it("writes VNC addresses", () => {
    const vnc = (graphics: NonNullable<DomainDefinition["graphics"]>) => valuesOf(build({ graphics }), "-vnc")[0];
    assert.equal(vnc({ autoport: false, port: 5903, listen: "::1" }), "[::1]:3");
    assert.equal(vnc({ autoport: false, port: -1, listen: "0.0.0.0" }), "0.0.0.0:0,to=99");
    assert.equal(vnc({ autoport: false, listen: "", socket: "/v,x" }), "unix:/v,,x");
  });

  it("chooses the emulator", () => {
    assert.equal(chooseEmulator(sampleDomain()), "qemu-system-x86_64");
    assert.equal(chooseEmulator(sampleDomain({ emulator: "/opt/qemu" })), "/opt/qemu");
    assert.throws(
      () => chooseEmulator(sampleDomain({ arch: "x/../../sh" })),
      (error) => isQmError(error, "QM_INVALID"),
    );
  });
});
