/** Kills what a run's scenario says, when it says so. */
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { Machine } from "./machine.ts";
import type { Scenario, Victim } from "./scenario.ts";

/** Prepares the kill before the operation is asked for; the function that it returns is called with the operation under way. */
export async function prepareStrike(
  machine: Machine,
  { moment, victim }: Scenario,
): Promise<(acting: Promise<unknown>) => Promise<string>> {
  if (moment.at === "instant") {
    return async () => {
      await delay(moment.afterMs);
      await kill(machine, victim);
      return "instant";
    };
  }
  if (moment.at === "qemu-img") return (acting) => strikeQemuImg(machine, victim, moment.afterMs, acting);
  if (victim !== "daemon" && victim !== "qemu" && victim !== "daemon+qemu") throw new Error(`${victim} at a point`);
  const { index } = moment;
  const failing = moment.at === "undo" ? { failIndex: moment.failIndex } : {};
  await machine.daemon.plot({ victim, index, ...failing });
  const { daemon } = machine;
  return async (acting) => {
    await acting;
    if (daemon.point !== undefined) return daemon.point;
    await kill(machine, victim);
    return "after the end";
  };
}

async function strikeQemuImg(
  machine: Machine,
  victim: Victim,
  afterMs: number,
  acting: Promise<unknown>,
): Promise<string> {
  let isOver = false;
  void acting.then(() => (isOver = true));
  // Nothing tells of another process's children.
  while (!isOver) {
    const child = await findQemuImg(machine.daemon.pid);
    if (child !== undefined) {
      await delay(afterMs);
      send(child);
      if (victim === "daemon+qemu-img") await machine.daemon.kill();
      return "while qemu-img runs";
    }
    await delay(1);
  }
  if (victim === "daemon+qemu-img") await machine.daemon.kill();
  return "qemu-img did not run";
}

async function findQemuImg(daemon: number): Promise<number | undefined> {
  const children = await readFile(`/proc/${daemon}/task/${daemon}/children`, "latin1").catch(() => "");
  for (const pid of children.split(" ").filter((text) => text.trim() !== "")) {
    const name = await readFile(`/proc/${pid}/comm`, "latin1").catch(() => "");
    if (name.trim() === "qemu-img") return Number(pid);
  }
  return undefined;
}

async function kill(machine: Machine, victim: Victim): Promise<void> {
  if (victim !== "daemon") await killQemu(machine);
  if (victim !== "qemu") await machine.daemon.kill();
}

async function killQemu(machine: Machine): Promise<void> {
  const domains = machine.path("run", "domains");
  for (const uuid of await readdir(domains)) {
    const pid = await readFile(machine.path("run", "domains", uuid, "qemu.pid"), "latin1").catch(() => "");
    if (Number(pid) > 0) send(Number(pid));
  }
}

function send(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has just ended by itself.
  }
}
