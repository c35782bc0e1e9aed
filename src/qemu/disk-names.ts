/** Names for the disks of a QEMU that somebody else started. */

const peripheral = "/machine/peripheral/";

/** The QOM path of what `query-block` calls `qdev`: QEMU puts the bare id there for a device that has one. */
export function qomPath(qdev: string | undefined): string {
  if (qdev === undefined || qdev === "") return "";
  return qdev.startsWith("/") ? qdev : `${peripheral}${qdev}`;
}

/** One name for each entry, in its order, all different: letters, digits and `-._` only, so that ids can be made of them. */
export function nameDisks(disks: readonly { readonly qdev?: string; readonly device: string }[]): string[] {
  const used = new Set<string>();
  return disks.map((disk) => {
    const wanted = chooseName(qomPath(disk.qdev), disk.device);
    let name = wanted;
    for (let number = 2; used.has(name); number++) name = `${wanted}-${number}`;
    used.add(name);
    return name;
  });
}

function chooseName(qdev: string, device: string): string {
  // A virtio disk's backend is a part of the device, which is what has the id.
  const path = qdev.replace(/\/virtio-backend$/, "");
  const last = path.slice(path.lastIndexOf("/") + 1);
  const name = path.startsWith(peripheral) ? last : device === "" ? last : device;
  return name.replaceAll(/[^\w.-]/g, "") || "disk";
}
