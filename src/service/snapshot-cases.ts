/** The use cases of snapshots. */
import type { EndMirrorsBody, OperationView, SnapshotCreateBody, SnapshotCreatedView } from "../api-types/index.ts";
import { QmError } from "../base/errors.ts";
import { formatSnapshot } from "../model/snapshot-format.ts";
import type { SnapshotConfig } from "../model/snapshot.ts";
import { validateXml } from "../model/validate.ts";
import type { DomainEntry, SnapshotEntry } from "./domain-entry.ts";
import type { DomainLifecycle, LifecycleDeps } from "./domain-lifecycle.ts";
import type { SnapshotCases } from "./facade.ts";
import { abortMirrors, pivotMirrors, restartMirrors } from "./mirrors.ts";
import { finished } from "./running-operation.ts";
import { planDeletion, startDeletion } from "./snapshot-delete.ts";
import { redefineSnapshot } from "./snapshot-redefine.ts";
import { startRevert } from "./snapshot-revert.ts";
import { listSnapshots, viewOne } from "./snapshot-tree.ts";
import { createSnapshot, describeSnapshot } from "./snapshots.ts";
import { setCurrent } from "./truth-change.ts";
import { documentOf, withPresentImages } from "./views.ts";

export function createSnapshotCases(deps: LifecycleDeps, lifecycle: DomainLifecycle): SnapshotCases {
  const { registry, store, watch, events } = deps;
  const entryOf = async (domain: string): Promise<DomainEntry> => await Promise.resolve(registry.get(domain));
  const find = async (domain: string, name: string): Promise<[DomainEntry, SnapshotEntry]> => {
    const entry = await entryOf(domain);
    return [entry, registry.getSnapshot(entry, name)];
  };
  const view = (entry: DomainEntry, snapshot: SnapshotEntry) => viewOne(registry.snapshots(entry), snapshot);
  const xmlOf = (entry: DomainEntry, snapshot: SnapshotEntry): string => {
    const config = store.snapshots.config<SnapshotConfig>(entry.uuid, snapshot.name);
    const document = documentOf(snapshot);
    return formatSnapshot(document, config === undefined ? {} : { config: withPresentImages(config, document) });
  };
  const redefine = (entry: DomainEntry, { xml, current }: SnapshotCreateBody): SnapshotCreatedView => {
    if (xml === undefined) throw new QmError("QM_INVALID", { reason: "redefine needs the snapshot's XML" });
    const snapshot = redefineSnapshot(deps, entry, xml, current === true);
    return { snapshot: view(entry, snapshot), xml: xmlOf(entry, snapshot) };
  };

  return {
    async createSnapshot(domain, request) {
      const entry = await entryOf(domain);
      if (request.validate === true && request.xml !== undefined) validateXml(request.xml, "domainsnapshot");
      if (request.redefine === true) return redefine(entry, request);
      if (request.printXml === true) {
        const { document, config } = await describeSnapshot(deps, entry, request);
        return { xml: formatSnapshot(document, { config }) };
      }
      const { running, described } = await createSnapshot(deps, entry, request);
      const operation = await finished(running);
      const { document, config } = described;
      const taken = registry.snapshots(entry).find(({ name }) => name === document.name);
      const xml = taken === undefined ? formatSnapshot(document, { config }) : xmlOf(entry, taken);
      const shown = taken === undefined ? {} : { snapshot: view(entry, taken) };
      if (request.halt === true && entry.run !== undefined) await lifecycle.destroy(entry);
      return { ...shown, xml, operation };
    },

    async listSnapshots(domain, filter) {
      return listSnapshots(domain, registry.snapshots(await entryOf(domain)), filter);
    },

    async getSnapshot(domain, name) {
      return view(...(await find(domain, name)));
    },

    async currentSnapshot(domain) {
      const entry = await entryOf(domain);
      const current = registry.snapshots(entry).find((snapshot) => snapshot.current);
      if (current === undefined) throw new QmError("QM_NO_CURRENT_SNAPSHOT", { domain: entry.name });
      return view(entry, current);
    },

    async setCurrentSnapshot(domain, name) {
      const [entry] = await find(domain, name);
      store.atomically(() => {
        setCurrent(registry, entry, name);
        events.append(entry.name, "snapshot", { snapshot: name, event: "current" });
      });
      return view(entry, registry.getSnapshot(entry, name));
    },

    async snapshotXml(domain, name) {
      return xmlOf(...(await find(domain, name)));
    },

    async revertSnapshot(domain, name, request) {
      const [entry, snapshot] = await find(domain, name);
      return await finished(await startRevert(deps, entry, snapshot, request));
    },

    async deleteSnapshot(domain, name, request) {
      const [entry, snapshot] = await find(domain, name);
      const deletion = await planDeletion(deps, entry, snapshot, request);
      const running = startDeletion(deps, entry, deletion);
      const operation = running === undefined ? {} : { operation: await finished(running) };
      return { deleted: deletion.names, layers: deletion.layers, ...operation };
    },

    async previewDelete(domain, name, request) {
      const { names, layers } = await planDeletion(deps, ...(await find(domain, name)), request);
      return { deleted: names, layers };
    },

    async endMirrors(domain, name, how: EndMirrorsBody["mirror"]): Promise<OperationView | undefined> {
      const [entry, snapshot] = await find(domain, name);
      if (how === "abort") {
        const running = await abortMirrors(deps, entry, snapshot);
        return running === undefined ? undefined : await finished(running);
      }
      try {
        return await finished(await pivotMirrors(deps, entry, snapshot));
      } finally {
        // A pivot that was given up has ended its mirrors.
        await watch.refreshMirrors(entry);
      }
    },

    async restartMirrors(domain, name) {
      const [entry, snapshot] = await find(domain, name);
      try {
        return await finished(restartMirrors(deps, entry, snapshot));
      } finally {
        await watch.refreshMirrors(entry);
      }
    },
  };
}
