/** Events: registered by their number, and sent with the id that the registration gave. */
import { int, optional, string } from "../xdr/index.ts";
import { procedure } from "./procedure.ts";
import { domain } from "./types.ts";

/** Without a domain: of every domain. */
export const domainEventRegister = procedure(
  316,
  "connect_domain_event_callback_register_any",
  { eventId: int, domain: optional(domain) },
  { callbackId: int },
);
export const domainEventDeregister = procedure(
  317,
  "connect_domain_event_callback_deregister_any",
  { callbackId: int },
  {},
);

/** Events have a number of their own for the registration; those that come are described as procedures without results. */
export const eventIds = { lifecycle: 0, blockJob: 8, blockJob2: 16, last: 26 } as const;
const callbackId = int;
export const lifecycleEvent = procedure(
  318,
  "domain_event_callback_lifecycle",
  { callbackId, domain, event: int, detail: int },
  {},
);
/** `path` is the active image's. */
export const blockJobEvent = procedure(
  326,
  "domain_event_callback_block_job",
  { callbackId, domain, path: string, type: int, status: int },
  {},
);
export const blockJob2Event = procedure(
  339,
  "domain_event_block_job_2",
  { callbackId, domain, target: string, type: int, status: int },
  {},
);
