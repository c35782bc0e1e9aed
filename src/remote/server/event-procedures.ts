/** Registering for events. */
import * as protocol from "../protocol/index.ts";
import { serve } from "./served.ts";

export const eventProcedures = [
  serve(protocol.domainEventRegister, "read", async ({ events }, { eventId, domain }) => ({
    callbackId: await events.register(eventId, domain?.uuid ?? null),
  })),
  serve(protocol.domainEventDeregister, "read", ({ events }, { callbackId }) => {
    events.deregister(callbackId);
    return {};
  }),
];
