/** Domains: found, made, started, ended, told about. */
import type { DomainView } from "../../api-types/index.ts";
import { QmError } from "../../base/errors.ts";
import * as protocol from "../protocol/index.ts";
import { findDomain } from "./lookups.ts";
import { serve } from "./served.ts";
import { kib, pausedReasonNumber, stateNumber, toWireDomain } from "./views.ts";

const answer = (view: DomainView) => ({ domain: toWireDomain(view) });

/** Modes of `shutdown` and `reboot`; none asked for: the facade's choice. */
function endModes({ acpi, agent }: { readonly acpi: boolean; readonly agent: boolean }) {
  const modes = [...(agent ? (["agent"] as const) : []), ...(acpi ? (["acpi"] as const) : [])];
  return modes.length === 0 ? {} : { modes };
}

export const domainProcedures = [
  serve(protocol.domainLookupById, "read", async ({ facade }, { id }) => {
    const view = (await facade.listDomains()).find((candidate) => candidate.id === id);
    if (view === undefined) throw new QmError("QM_NO_DOMAIN", { domain: String(id) });
    return answer(view);
  }),
  serve(protocol.domainLookupByName, "read", async ({ facade }, { name }) => {
    const view = await facade.getDomain(name);
    // The facade takes a uuid too, and clients try the one after the other.
    if (view.name !== name) throw new QmError("QM_NO_DOMAIN", { domain: name });
    return answer(view);
  }),
  serve(protocol.domainLookupByUuid, "read", async ({ facade }, { uuid }) => answer(await facade.getDomain(uuid))),

  serve(protocol.domainDefineXml, "write", async ({ facade }, { xml }) => answer(await facade.defineDomain(xml))),
  serve(protocol.domainDefineXmlFlags, "write", async ({ facade }, { xml }) => answer(await facade.defineDomain(xml))),
  serve(protocol.domainCreateXml, "write", async ({ facade }, { xml }) => answer(await facade.createDomain(xml))),
  serve(protocol.domainCreate, "write", async ({ facade }, { domain }) => {
    await facade.startDomain(domain.uuid);
    return {};
  }),
  serve(protocol.domainCreateWithFlags, "write", async ({ facade }, { domain }) =>
    answer(await facade.startDomain(domain.uuid)),
  ),
  serve(protocol.domainDestroy, "write", async ({ facade }, { domain }) => {
    await facade.destroyDomain(domain.uuid);
    return {};
  }),
  serve(protocol.domainDestroyFlags, "write", async ({ facade }, { domain, flags }) => {
    if (flags.graceful) throw new QmError("QM_UNSUPPORTED", { what: "ending QEMU gracefully", detail: "" });
    await facade.destroyDomain(domain.uuid);
    return {};
  }),
  serve(protocol.domainUndefine, "write", async ({ facade }, { domain }) => {
    await facade.undefineDomain(domain.uuid);
    return {};
  }),
  // Of the other two things there is nothing that could be removed.
  serve(protocol.domainUndefineFlags, "write", async ({ facade }, { domain, flags }) => {
    await facade.undefineDomain(domain.uuid, { snapshotsMetadata: flags.snapshotsMetadata });
    return {};
  }),
  serve(protocol.domainSuspend, "write", async ({ facade }, { domain }) => {
    await facade.suspendDomain(domain.uuid);
    return {};
  }),
  serve(protocol.domainResume, "write", async ({ facade }, { domain }) => {
    await facade.resumeDomain(domain.uuid);
    return {};
  }),
  serve(protocol.domainShutdown, "write", async ({ facade }, { domain }) => {
    await facade.shutdownDomain(domain.uuid, {});
    return {};
  }),
  serve(protocol.domainShutdownFlags, "write", async ({ facade }, { domain, flags }) => {
    await facade.shutdownDomain(domain.uuid, endModes(flags));
    return {};
  }),
  serve(protocol.domainReboot, "write", async ({ facade }, { domain, flags }) => {
    await facade.rebootDomain(domain.uuid, endModes(flags));
    return {};
  }),
  serve(protocol.domainRename, "write", async ({ facade }, { domain, newName }) => {
    await facade.renameDomain(domain.uuid, newName ?? "");
    return { result: 0 };
  }),

  serve(protocol.domainGetXmlDesc, "read", async ({ facade }, { domain, flags }) => ({
    xml: await facade.domainXml(domain.uuid, { inactive: flags.inactive }),
  })),
  serve(protocol.domainGetState, "read", async (session, { domain }) => {
    const view = await findDomain(session, domain);
    const reason = view.state === "paused" ? (await session.facade.domainInfo(view.uuid)).reason : "";
    return { state: stateNumber(view), reason: pausedReasonNumber(reason) };
  }),
  serve(protocol.domainGetInfo, "read", async ({ facade }, { domain }) => {
    const info = await facade.domainInfo(domain.uuid);
    return {
      state: stateNumber(info),
      maxMemoryKib: BigInt(info.maxMemoryBytes) / kib,
      memoryKib: BigInt(info.usedMemoryBytes) / kib,
      vcpus: info.vcpus,
      cpuTimeNs: BigInt(info.cpuTimeNs ?? 0),
    };
  }),
  serve(protocol.domainGetOsType, "read", async ({ facade }, { domain }) => ({
    type: (await facade.domainInfo(domain.uuid)).osType,
  })),
  serve(protocol.domainGetMaxMemory, "read", async ({ facade }, { domain }) => ({
    memoryKib: BigInt((await facade.domainInfo(domain.uuid)).maxMemoryBytes) / kib,
  })),
  serve(protocol.domainGetMaxVcpus, "read", async ({ facade }, { domain }) => ({
    count: (await facade.domainInfo(domain.uuid)).vcpus,
  })),
  serve(protocol.domainGetVcpusFlags, "read", async ({ facade }, { domain }) => ({
    count: (await facade.domainInfo(domain.uuid)).vcpus,
  })),
  serve(protocol.domainIsActive, "read", async (session, { domain }) => ({
    active: (await findDomain(session, domain)).id !== null,
  })),
  serve(protocol.domainIsPersistent, "read", async (session, { domain }) => ({
    persistent: (await findDomain(session, domain)).persistent,
  })),
  // A definition that differs from the running domain is not recorded as changed.
  serve(protocol.domainIsUpdated, "read", async (session, { domain }) => {
    await findDomain(session, domain);
    return { updated: false };
  }),
  serve(protocol.domainGetAutostart, "read", async ({ facade }, { domain }) => ({
    autostart: (await facade.domainInfo(domain.uuid)).autostart,
  })),
  serve(protocol.domainSetAutostart, "write", async (session, { domain, autostart }) => {
    await findDomain(session, domain);
    if (autostart) throw new QmError("QM_UNSUPPORTED", { what: "autostart", detail: "" });
    return {};
  }),
  serve(protocol.domainHasManagedSaveImage, "read", async ({ facade }, { domain }) => ({
    result: (await facade.domainInfo(domain.uuid)).managedSave,
  })),
  serve(protocol.domainGetSecurityLabel, "read", async (session, { domain }) => {
    await findDomain(session, domain);
    return { label: [], enforcing: false };
  }),
  serve(protocol.domainGetControlInfo, "read", async (session, { domain }) => {
    const { operation } = await findDomain(session, domain);
    // virDomainControlState: 0 is free, 1 an operation under way.
    return { state: operation === undefined ? 0 : 1, details: 0, stateTimeMs: 0n };
  }),
  serve(protocol.domainGetMessages, "read", async (session, { domain }) => {
    await findDomain(session, domain);
    return { messages: [] };
  }),
];
