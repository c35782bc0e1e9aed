/** Domains of the host, and their statistics. */
import type { DomainView } from "../../api-types/index.ts";
import { isQmError } from "../../base/errors.ts";
import * as protocol from "../protocol/index.ts";
import type { Param } from "../protocol/index.ts";
import { findDomain } from "./lookups.ts";
import { serve, type Session } from "./served.ts";
import { kib, pausedReasonNumber, stateNumber, toWireDomain } from "./views.ts";

type Condition = readonly [asked: boolean, holds: boolean];

/** Conditions of one kind are alternatives: none asked for lets everything through. */
function anyOf(...conditions: readonly Condition[]): boolean {
  const asked = conditions.filter(([wanted]) => wanted);
  return asked.length === 0 || asked.some(([, holds]) => holds);
}

type StateFilter = Readonly<
  Record<"active" | "inactive" | "persistent" | "transient" | "running" | "paused" | "shutOff" | "other", boolean>
>;

function passes({ id, state, persistent }: DomainView, flags: StateFilter): boolean {
  return (
    anyOf([flags.active, id !== null], [flags.inactive, id === null]) &&
    anyOf([flags.persistent, persistent], [flags.transient, !persistent]) &&
    anyOf(
      [flags.running, state === "running"],
      [flags.paused, state === "paused"],
      [flags.shutOff, state === "shut off"],
      [flags.other, state === "crashed"],
    )
  );
}

export const listProcedures = [
  serve(protocol.connectListAllDomains, "read", async ({ facade }, { wanted, flags }) => {
    // There is no managed save, autostart or checkpoint.
    const possible =
      anyOf([flags.managedSave, false], [flags.noManagedSave, true]) &&
      anyOf([flags.autostart, false], [flags.noAutostart, true]) &&
      anyOf([flags.hasCheckpoint, false], [flags.noCheckpoint, true]);
    const found: DomainView[] = [];
    for (const view of possible ? await facade.listDomains() : []) {
      if (!passes(view, flags)) continue;
      if (flags.hasSnapshot !== flags.noSnapshot) {
        const has = await facade.listSnapshots(view.uuid).then(({ length }) => length > 0, forgiveGone);
        if (has === undefined || has !== flags.hasSnapshot) continue;
      }
      found.push(view);
    }
    return { domains: wanted ? found.map(toWireDomain) : [], count: found.length };
  }),
  serve(protocol.connectNumOfDomains, "read", async (session) => ({ count: (await listIds(session)).length })),
  serve(protocol.connectListDomains, "read", async (session, { max }) => ({
    ids: (await listIds(session)).slice(0, Math.max(0, max)),
  })),
  serve(protocol.connectNumOfDefinedDomains, "read", async (session) => ({
    count: (await listInactive(session)).length,
  })),
  serve(protocol.connectListDefinedDomains, "read", async (session, { max }) => ({
    names: (await listInactive(session)).slice(0, Math.max(0, max)),
  })),
  serve(protocol.connectGetAllDomainStats, "read", async (session, { domains, groups, flags }) => {
    const chosen =
      domains.length > 0
        ? await Promise.all(domains.map((domain) => findDomain(session, domain)))
        : await session.facade.listDomains();
    const everything = !Object.values(groups).includes(true);
    const records = [];
    for (const view of chosen) {
      if (!passes(view, flags)) continue;
      const params = await readStats(session, view, everything ? allGroups : groups).catch(forgiveGone);
      if (params !== undefined) records.push({ domain: toWireDomain(view), params });
    }
    return { records };
  }),
];

async function listIds({ facade }: Session): Promise<number[]> {
  return (await facade.listDomains()).flatMap(({ id }) => (id === null ? [] : [id]));
}

async function listInactive({ facade }: Session): Promise<string[]> {
  return (await facade.listDomains()).flatMap(({ id, name }) => (id === null ? [name] : []));
}

/** A domain that went away between the list and the look is not in the answer. */
function forgiveGone(error: unknown): undefined {
  if (!isQmError(error, "QM_NO_DOMAIN")) throw error;
}

interface Groups {
  readonly state: boolean;
  readonly cpu: boolean;
  readonly balloon: boolean;
  readonly vcpu: boolean;
  readonly block: boolean;
}
const allGroups: Groups = { state: true, cpu: true, balloon: true, vcpu: true, block: true };

/** Other groups have nothing to tell. Fields are named as `virsh domstats` shows them. */
async function readStats(session: Session, view: DomainView, groups: Groups): Promise<Param[]> {
  const { facade } = session;
  const info = await facade.domainInfo(view.uuid);
  const params: Param[] = [];
  if (groups.state) {
    const reason = view.state === "paused" ? pausedReasonNumber(info.reason) : 0;
    params.push(intParam("state.state", stateNumber(view)), intParam("state.reason", reason));
  }
  if (groups.cpu && info.cpuTimeNs !== undefined) params.push(countParam("cpu.time", info.cpuTimeNs));
  if (groups.balloon) {
    params.push(kibParam("balloon.current", info.usedMemoryBytes), kibParam("balloon.maximum", info.maxMemoryBytes));
  }
  if (groups.vcpu) params.push(uintParam("vcpu.current", info.vcpus), uintParam("vcpu.maximum", info.vcpus));
  if (groups.block) params.push(...(await readBlockStats(session, view)));
  return params;
}

async function readBlockStats({ facade }: Session, { uuid, id }: DomainView): Promise<Param[]> {
  const disks = (await facade.domainDisks(uuid)).filter(({ chain }) => chain.length > 0);
  const params = [uintParam("block.count", disks.length)];
  for (const [index, { target, chain }] of disks.entries()) {
    const field = (name: string): string => `block.${index}.${name}`;
    params.push({ name: field("name"), value: { type: "string", value: target } });
    params.push({ name: field("path"), value: { type: "string", value: chain[0]?.path ?? "" } });
    if (id !== null) {
      const stats = await facade.blockStats(uuid, target);
      params.push(
        countParam(field("rd.reqs"), stats.rdReq),
        countParam(field("rd.bytes"), stats.rdBytes),
        countParam(field("rd.times"), stats.rdTotalTimesNs),
        countParam(field("wr.reqs"), stats.wrReq),
        countParam(field("wr.bytes"), stats.wrBytes),
        countParam(field("wr.times"), stats.wrTotalTimesNs),
        countParam(field("fl.reqs"), stats.flushReq),
        countParam(field("fl.times"), stats.flushTotalTimesNs),
      );
    }
    const info = await facade.blockInfo(uuid, target);
    params.push(
      countParam(field("allocation"), info.allocationBytes),
      countParam(field("capacity"), info.capacityBytes),
      countParam(field("physical"), info.physicalBytes),
    );
  }
  return params;
}

function intParam(name: string, value: number): Param {
  return { name, value: { type: "int", value } };
}

function uintParam(name: string, value: number): Param {
  return { name, value: { type: "uint", value } };
}

function countParam(name: string, value: number): Param {
  return { name, value: { type: "ullong", value: BigInt(value) } };
}

function kibParam(name: string, bytes: number): Param {
  return { name, value: { type: "ullong", value: BigInt(bytes) / kib } };
}
