/** The witness guest's first process: a script for busybox's shell. */
import guestModules from "./guest-modules.json" with { type: "json" };

/**
 * `S` says that the guest is up. SCSI disks appear some time after their driver is loaded and the guest has no udev to tell:
 * so it looks again every 20 ms, 10 s at most. Linux probes them side by side, so `sdb` may be the first disk of the bus:
 * `sda` on the command line means the first by address.
 *
 * With `agent` every disk holds an ext4 file system, which is mounted, and the writer writes to the file `records` in it. `S` then
 * also says that QEMU's guest agent has its channel open.
 */
export function buildInitScript({ agent }: { readonly agent: boolean }): string {
  return `${boot}${agent ? mountDisks + startAgent : ""}echo S
/bin/witness $run $slots $offset $interval $count $paths
/bin/busybox poweroff -f
`;
}

const boot = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t sysfs sys /sys
disks= run=0 slots=0 offset=0 interval=0 count=0
for word in $(/bin/busybox cat /proc/cmdline); do
  case $word in
    witness.disks=*) disks=\${word#*=} ;;
    witness.run=*) run=$((0x\${word#*=})) ;;
    witness.slots=*) slots=\${word#*=} ;;
    witness.offset=*) offset=\${word#*=} ;;
    witness.interval_us=*) interval=\${word#*=} ;;
    witness.count=*) count=\${word#*=} ;;
  esac
done
for module in ${guestModules.virtio.join(" ")}; do /bin/busybox insmod /modules/$module.ko; done
case $disks in
  *sd*) for module in ${guestModules.scsi.join(" ")}; do /bin/busybox insmod /modules/$module.ko; done ;;
esac
paths=
for disk in $(IFS=,; echo $disks); do
  tries=0
  until [ -b /dev/$disk ] || [ $tries = 500 ]; do /bin/busybox usleep 20000; tries=$((tries + 1)); done
done
for disk in $(IFS=,; echo $disks); do
  case $disk in
    sd?)
      letters=\${disk#sd}
      for found in /sys/bus/scsi/devices/*:*:*:*/block/*; do
        [ $letters = a ] && disk=\${found##*/} && break
        letters=$(echo $letters | /bin/busybox tr b-z a-y)
      done ;;
  esac
  paths="$paths /dev/$disk"
done
`;

const mountDisks = `devices=$paths paths=
for device in $devices; do
  place=/mnt/\${device##*/}
  /bin/busybox mkdir $place
  /bin/busybox mount -t ext4 $device $place
  : >> $place/records
  paths="$paths $place/records"
done
`;

/** The port's name arrives some time after the driver is loaded; the agent can be asked once it has the port open. */
const startAgent = `for module in ${guestModules.agent.join(" ")}; do /bin/busybox insmod /modules/$module.ko; done
port= tries=0
until [ -n "$port" ] || [ $tries = 500 ]; do
  for name in /sys/class/virtio-ports/*/name; do
    [ "$(/bin/busybox cat $name)" = org.qemu.guest_agent.0 ] && port=\${name%/name}
  done
  [ -n "$port" ] || /bin/busybox usleep 20000
  tries=$((tries + 1))
done
/bin/qemu-ga -m virtio-serial -p /dev/\${port##*/} -t /run >/dev/null 2>&1 &
tries=0
until /bin/busybox ls -l /proc/$!/fd | /bin/busybox grep -q \${port##*/} || [ $tries = 500 ]; do
  /bin/busybox usleep 20000
  tries=$((tries + 1))
done
`;
