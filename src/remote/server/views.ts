/** The facade's views in libvirt's words. */
import type { DomainView } from "../../api-types/index.ts";
import type { WireDomain } from "../protocol/index.ts";

export const kib = 1024n;

/** virDomainState. */
const states: Readonly<Record<DomainView["state"], number>> = { running: 1, paused: 3, "shut off": 5, crashed: 6 };

/** virDomainPausedReason, by the words of `DomainInfoView.reason`. */
const pausedReasons: Readonly<Partial<Record<string, number>>> = {
  ...{ user: 1, saving: 3, "I/O error": 5, watchdog: 6, "shutting down": 8, crashed: 10, "starting up": 11 },
};

export function stateNumber({ state }: Pick<DomainView, "state">): number {
  return states[state];
}

export function pausedReasonNumber(reason: string): number {
  return pausedReasons[reason] ?? 0;
}

export function toWireDomain({ name, uuid, id }: DomainView): WireDomain {
  return { name, uuid, id: id ?? -1 };
}
