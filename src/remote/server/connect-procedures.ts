/** The connection and the host. */
import { cpus, freemem, totalmem } from "node:os";
import { QmError } from "../../base/errors.ts";
import * as protocol from "../protocol/index.ts";
import { formatCapabilities } from "./capabilities.ts";
import { serve } from "./served.ts";
import { kib } from "./views.ts";

/** The libvirt whose protocol this is, as 1,000,000 * major + 1,000 * minor + release. */
const libVersion = 9_000_000n;
const maxVcpus = 1024;
const driverUris = new Set(["qemu:///system", "qemu:///session"]);
const supportedFeatures: ReadonlySet<number> = new Set(Object.values(protocol.features));

export const connectProcedures = [
  serve(protocol.authList, "greet", () => ({ types: [0] })),
  serve(protocol.connectSupportsFeature, "greet", (_session, { feature }) => ({
    supported: supportedFeatures.has(feature),
  })),
  // That it is open now, and whether read-only, is the connection's to note.
  serve(protocol.connectOpen, "greet", (_session, { uri }) => {
    const name = uri?.split("?")[0];
    if (name !== undefined && name !== "" && !driverUris.has(name)) {
      throw new QmError("QM_INVALID", { reason: `no driver for the URI ${name}: use qemu:///system` });
    }
    return {};
  }),
  serve(protocol.connectClose, "greet", () => ({})),
  serve(protocol.connectRegisterCloseCallback, "read", () => ({})),
  serve(protocol.connectUnregisterCloseCallback, "read", () => ({})),

  serve(protocol.connectGetType, "read", () => ({ type: "QEMU" })),
  serve(protocol.connectGetVersion, "read", async ({ host }) => ({ version: BigInt(await host.readQemuVersion()) })),
  serve(protocol.connectGetLibVersion, "read", () => ({ version: libVersion })),
  serve(protocol.connectGetHostname, "read", ({ host }) => ({ hostname: host.hostname })),
  serve(protocol.connectGetUri, "read", ({ host }) => ({ uri: host.uri })),
  serve(protocol.connectIsSecure, "read", () => ({ secure: true })),
  serve(protocol.connectGetMaxVcpus, "read", () => ({ maxVcpus })),
  serve(protocol.connectGetCapabilities, "read", async ({ host }) => ({
    xml: formatCapabilities({ hasKvm: await host.hasKvm(), memoryKib: Math.floor(totalmem() / 1024) }),
  })),
  serve(protocol.nodeGetInfo, "read", () => {
    const all = cpus();
    return {
      model: "x86_64",
      memoryKib: BigInt(totalmem()) / kib,
      cpus: all.length,
      mhz: all[0]?.speed ?? 0,
      // Node does not tell how they are arranged.
      ...{ nodes: 1, sockets: 1, cores: all.length, threads: 1 },
    };
  }),
  serve(protocol.nodeGetFreeMemory, "read", () => ({ freeBytes: BigInt(freemem()) })),
  serve(protocol.nodeGetSecurityModel, "read", () => ({ model: [], doi: [] })),

  ...protocol.emptyLists.map((procedure) => serve(procedure, "read", () => ({ items: [], count: 0 }))),
];
