"""Drives libvirt through one open connection: a JSON request a line on stdin, a JSON answer a line on stdout."""
import json
import sys
import threading

import libvirt

changed = threading.Condition()
statuses = {}


def run_events():
    while True:
        libvirt.virEventRunDefaultImpl()


def on_block_job(conn, domain, disk, kind, status, opaque):
    with changed:
        statuses[(domain.name(), disk)] = status
        changed.notify_all()


def image_xml(path):
    return f"<source file='{path}'/><driver type='qcow2'/>"


def create(conn, name, disks):
    domain = conn.lookupByName(name)
    parts = [f"<disk name='{d['target']}' snapshot='external'>{image_xml(d['overlay'])}</disk>" for d in disks]
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
    domain.snapshotCreateXML(f"<domainsnapshot><name>s1</name><disks>{''.join(parts)}</disks></domainsnapshot>", flags)
    keys = [(name, disk["target"]) for disk in disks]
    with changed:
        # A guest of this name was there before
        for key in keys:
            statuses.pop(key, None)
    # Mirrors of the overlays alone, with guest writes going to both, as qmirror makes them
    flags = libvirt.VIR_DOMAIN_BLOCK_COPY_SHALLOW | libvirt.VIR_DOMAIN_BLOCK_COPY_SYNCHRONOUS_WRITES
    for disk in disks:
        target = f"<disk type='file'>{image_xml(disk['mirror'])}</disk>"
        domain.blockCopy(disk["target"], target, {}, flags)
    with changed:
        changed.wait_for(lambda: all(key in statuses for key in keys))
        failed = [key for key in keys if statuses[key] != libvirt.VIR_DOMAIN_BLOCK_JOB_READY]
    if failed:
        raise RuntimeError(f"block copies that did not get ready: {failed}")


def pivot(conn, name, disks):
    domain = conn.lookupByName(name)
    for disk in disks:
        domain.blockJobAbort(disk["target"], libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)


def answer(conn, request):
    verb = request["verb"]
    if verb == "boot":
        conn.createXML(request["xml"])
    elif verb == "create":
        create(conn, request["name"], request["disks"])
    elif verb == "pivot":
        pivot(conn, request["name"], request["disks"])
    elif verb == "destroy":
        conn.lookupByName(request["name"]).destroy()
    else:
        raise ValueError(verb)


def main():
    libvirt.registerErrorHandler(lambda context, error: None, None)
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=run_events, daemon=True).start()
    conn = libvirt.open("qemu:///system")
    conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, on_block_job, None)
    version = conn.getLibVersion()
    print(json.dumps({"version": f"{version // 1000000}.{version // 1000 % 1000}.{version % 1000}"}), flush=True)
    for line in sys.stdin:
        try:
            answer(conn, json.loads(line))
            print(json.dumps({}), flush=True)
        except Exception as error:
            print(json.dumps({"error": str(error)}), flush=True)


main()
