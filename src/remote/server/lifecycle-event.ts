/** What happened to a domain, in libvirt's numbers: virDomainEventType and, for each, its detail. */
import type { EventView } from "../../api-types/index.ts";

const types: Readonly<Partial<Record<string, number>>> = {
  ...{ defined: 0, undefined: 1, started: 2, suspended: 3, resumed: 4, stopped: 5, attached: 2 },
  renamed: 0,
};

/** Details that differ from 0. */
const details: Readonly<Partial<Record<string, number>>> = { renamed: 2 };

/** Undefined: libvirt has no such event. */
export function toLifecycle({ event }: EventView["detail"]): { event: number; detail: number } | undefined {
  const type = typeof event === "string" ? types[event] : undefined;
  return type === undefined || typeof event !== "string" ? undefined : { event: type, detail: details[event] ?? 0 };
}
