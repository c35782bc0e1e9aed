/** The use cases of domains and their devices. */
import { QmError } from "../base/errors.ts";
import { formatDomain } from "../model/domain-format.ts";
import { attachDisk, detachDisk } from "./disk-devices.ts";
import type { DomainEntry } from "./domain-entry.ts";
import type { DomainLifecycle, LifecycleDeps } from "./domain-lifecycle.ts";
import {
  describeBlock,
  describeDomain,
  readBlockStats,
  rebootDomain,
  renameDomain,
  resumeDomain,
  shutdownDomain,
  suspendDomain,
} from "./domain-verbs.ts";
import type { DomainCases } from "./facade.ts";
import { freezeFilesystems, thawFilesystems } from "./guest-agent.ts";
import { finished } from "./running-operation.ts";
import { restoreDomain, startSave } from "./save-restore.ts";
import { liveDefinition, readLiveDisks } from "./live-disks.ts";
import { viewDisk, viewDomain } from "./views.ts";

export function createDomainCases(deps: LifecycleDeps, lifecycle: DomainLifecycle): DomainCases {
  const { registry } = deps;
  const find = async (domain: string): Promise<DomainEntry> => await Promise.resolve(registry.get(domain));
  const view = (entry: DomainEntry) => viewDomain(entry, registry.mirroredSnapshot(entry));
  return {
    listDomains: () => Promise.resolve(registry.list().map(view)),

    async getDomain(domain) {
      return view(await find(domain));
    },

    async defineDomain(xml) {
      return view(await Promise.resolve(xml).then((text) => lifecycle.define(text)));
    },

    async createDomain(xml) {
      return view(await lifecycle.create(xml));
    },

    async startDomain(domain) {
      const entry = await find(domain);
      await lifecycle.start(entry);
      return view(entry);
    },

    async destroyDomain(domain) {
      const entry = await find(domain);
      await lifecycle.destroy(entry);
      return view(entry);
    },

    async undefineDomain(domain, request) {
      lifecycle.undefine(await find(domain), request);
    },

    async attachDomain(request) {
      return view(await lifecycle.attach(request));
    },

    async detachDomain(domain) {
      await lifecycle.detach(await find(domain));
    },

    async domainXml(domain, options) {
      const entry = await find(domain);
      if (options.inactive || entry.run === undefined) {
        if (entry.definition === undefined) {
          throw new QmError("QM_INVALID", {
            reason: `domain '${entry.name}' is transient: it has no inactive definition`,
          });
        }
        return formatDomain(entry.definition);
      }
      const definition = await liveDefinition(entry, registry.mirroredSnapshot(entry));
      return formatDomain(definition, { live: { id: entry.run.id } });
    },

    async domainDisks(domain) {
      const entry = await find(domain);
      const disks = await readLiveDisks(entry, registry.mirroredSnapshot(entry));
      return disks.map(({ disk, sizeBytes }) => viewDisk(disk, sizeBytes));
    },

    async suspendDomain(domain) {
      const entry = await find(domain);
      await suspendDomain(deps, entry);
      return { ...view(entry), state: "paused" };
    },

    async resumeDomain(domain) {
      const entry = await find(domain);
      await resumeDomain(deps, entry);
      return { ...view(entry), state: "running" };
    },

    async shutdownDomain(domain, request) {
      await shutdownDomain(deps, await find(domain), request);
    },

    async rebootDomain(domain, request) {
      await rebootDomain(deps, await find(domain), request);
    },

    async saveDomain(domain, request) {
      return await finished(await startSave(deps, await find(domain), request));
    },

    async restoreDomain(request) {
      return view(await restoreDomain(deps, request));
    },

    async domainInfo(domain) {
      return await describeDomain(deps, await find(domain));
    },

    async blockInfo(domain, disk) {
      return await describeBlock(await find(domain), disk);
    },

    async blockStats(domain, disk) {
      return await readBlockStats(await find(domain), disk);
    },

    async freezeFilesystems(domain, mountpoints) {
      return await freezeFilesystems(deps, await find(domain), mountpoints);
    },

    async thawFilesystems(domain, mountpoints) {
      return await thawFilesystems(deps, await find(domain), mountpoints);
    },

    async renameDomain(domain, newName) {
      const entry = await find(domain);
      renameDomain(deps, entry, newName);
      return view(entry);
    },

    async attachDisk(domain, request) {
      return await attachDisk(deps, await find(domain), request);
    },

    async detachDisk(domain, disk, request) {
      await detachDisk(deps, await find(domain), disk, request);
    },
  };
}
