/** Asking the guest by its power button (ACPI) to shut down or to start anew. Whether it does is the guest's own business. */
import { isQmError } from "../base/errors.ts";
import type { Monitor } from "./monitor.ts";

const followed = new WeakSet<Monitor>();

/** QEMU ends when the guest has shut down. */
export async function pressPowerButton(monitor: Monitor): Promise<void> {
  // A reboot that the guest did not follow may have been asked for before.
  await monitor.execute("set-action", { shutdown: "poweroff" });
  await monitor.execute("system_powerdown");
}

/**
 * No key asks a guest to reboot: it is asked to shut down, and QEMU to stand still then in place of ending. `followReboots` does the
 * rest.
 */
export async function pressPowerButtonToReboot(monitor: Monitor): Promise<void> {
  await followReboots(monitor);
  await monitor.execute("set-action", { shutdown: "pause" });
  await monitor.execute("system_powerdown");
}

/**
 * Starts the guest anew whenever it has shut down and QEMU stands still: only a reboot that was asked for makes QEMU do so. Call it
 * for every connection to a QEMU of ours: the guest may have shut down while no daemon was there.
 */
export async function followReboots(monitor: Monitor): Promise<void> {
  if (followed.has(monitor)) return;
  followed.add(monitor);
  monitor.onEvent(({ event }) => {
    if (event !== "SHUTDOWN") return;
    void finishReboot(monitor).catch((error: unknown) => {
      // QEMU ended, as it does after all other shutdowns.
      if (!isQmError(error)) throw error;
    });
  });
  await finishReboot(monitor);
}

async function finishReboot(monitor: Monitor): Promise<void> {
  if ((await monitor.execute("query-status")).status !== "shutdown") return;
  await monitor.execute("set-action", { shutdown: "poweroff" });
  await monitor.execute("system_reset");
  await monitor.execute("cont");
}
