/** What a procedure's implementation is made of. */
import type { Facade } from "../../service/facade.ts";
import type { Codec } from "../xdr/index.ts";
import type { Procedure } from "../protocol/index.ts";
import type { EventSubscriptions } from "./event-subscriptions.ts";
import type { JobTargets } from "./job-targets.ts";

/** What the protocol wants to know and the facade does not tell. */
export interface HostFacts {
  readonly hostname: string;
  /** As in libvirt: `qemu:///system` for root, otherwise `qemu:///session`. */
  readonly uri: string;
  /** 1,000,000 * major + 1,000 * minor + release. */
  readQemuVersion(): Promise<number>;
  /** Whether `<domain type='kvm'>` works here. */
  hasKvm(): Promise<boolean>;
}

/** One client, as the procedures see it. */
export interface Session {
  readonly facade: Facade;
  readonly host: HostFacts;
  readonly targets: JobTargets;
  readonly events: EventSubscriptions;
  /** Aborts when the client is gone. */
  readonly signal: AbortSignal;
}

/** `greet`: before the connection is opened too. `write` is refused to read-only clients. */
export type Access = "greet" | "read" | "write";

export interface Served {
  readonly number: number;
  readonly name: string;
  readonly access: Access;
  readonly args: Codec<unknown>;
  readonly ret: Codec<unknown>;
  handle(session: Session, args: unknown): unknown;
}

/** The implementation may answer at once or later; what it throws becomes libvirt's error. */
export function serve<A, R>(
  { number, name, args, ret }: Procedure<A, R>,
  access: Access,
  handle: (session: Session, args: A) => R | Promise<R>,
): Served {
  return { number, name, access, args, ret, handle: (session, value) => handle(session, value as A) };
}
