/** Disks that come and go while the guest runs. */
import { withLimits } from "../base/abort.ts";
import type { Disk } from "../model/domain.ts";
import type { ImageChain } from "../model/image.ts";
import { readGuestDisks } from "./block-graph.ts";
import { describeDiskDevice, describeDiskNodes } from "./command-line-disk.ts";
import type { Monitor } from "./monitor.ts";
import type { QapiCommands } from "./qapi.gen.ts";
import { ignoreRefusal } from "./tolerate.ts";

type NodeOptions = QapiCommands["blockdev-add"]["args"];
type DeviceOptions = QapiCommands["device_add"]["args"];

/** The command line's own: see `placeDisks`. */
const scsiController = { driver: "virtio-scsi-pci", id: "qm-scsi0" };

/**
 * Opens the chain as the command line does, then adds the device. Rejects with `QM_QMP_COMMAND` (the bus takes no device while the
 * guest runs, the image is in use, …), or as `describeDiskNodes`: nothing of it is left then, but a
 * first SCSI controller.
 */
export async function plugDisk(monitor: Monitor, disk: Disk, chain: ImageChain | undefined): Promise<void> {
  const nodes = describeDiskNodes(disk, chain) as NodeOptions[];
  const names = nodes.map((node) => node["node-name"] ?? "").reverse();
  // Left by a plug that was interrupted; what a device uses stays.
  await closeInOrder(monitor, names);
  const needsController = disk.bus === "scsi" && !(await listDevices(monitor)).has(scsiController.id);
  try {
    for (const node of nodes) await monitor.execute("blockdev-add", node);
    if (needsController) await monitor.execute("device_add", scsiController);
    // Which of a controller's places is free, QEMU knows best.
    const place = disk.bus === "scsi" ? { bus: `${scsiController.id}.0` } : {};
    await monitor.execute("device_add", describeDiskDevice(disk, place, disk.bootIndex) as DeviceOptions);
  } catch (error) {
    await closeInOrder(monitor, names);
    throw error;
  }
}

export interface Unplugging {
  /** Resolves when the guest has let go of the disk, and its images are closed; may take for ever. */
  readonly done: Promise<void>;
}

/** Asks the guest to let go of the disk. Rejects with `QM_QMP_COMMAND` when its bus cannot do that. */
export async function unplugDisk(monitor: Monitor, target: string): Promise<Unplugging> {
  const layers = (await readGuestDisks(monitor)).find((guest) => guest.target === target)?.layers ?? [];
  const names = layers.flatMap(({ node, fileNode }) => [node, ...(fileNode === undefined ? [] : [fileNode])]);
  const { promise: deleted, resolve, reject } = Promise.withResolvers<void>();
  deleted.catch(() => undefined); // heard through `done`
  const stop = monitor.onEvent((event) => {
    if (event.event === "DEVICE_DELETED" && event.data.device === target) resolve();
  });
  void monitor.closed.then((error) => reject(error ?? new Error("the connection was closed")));
  try {
    await monitor.execute("device_del", { id: target });
  } catch (error) {
    stop();
    throw error;
  }
  const done = deleted.finally(stop).then(() => closeInOrder(monitor, names));
  done.catch(() => undefined); // for whoever waits
  return { done };
}

/** Ids of the devices that QEMU has. */
export async function listDevices(monitor: Monitor): Promise<ReadonlySet<string>> {
  const devices = await monitor.execute("qom-list", { path: "/machine/peripheral" });
  return new Set(devices.map(({ name }) => name));
}

/** Waits for `done` at most that long: `QM_TIMEOUT`. */
export async function awaitUnplugged({ done }: Unplugging, target: string, timeoutMs: number): Promise<void> {
  await withLimits(`the guest's letting go of disk '${target}'`, done, { timeoutMs });
}

/** A parent before what it stands on. */
async function closeInOrder(monitor: Monitor, nodes: readonly string[]): Promise<void> {
  for (const node of nodes) await ignoreRefusal(monitor.execute("blockdev-del", { "node-name": node }));
}
