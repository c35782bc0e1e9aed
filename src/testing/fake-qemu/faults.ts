/** Faults at exact moments: at the nth command of a name, counted from 1 from the moment the fault is set. Each happens once. */
export interface Faults {
  /** Answered with an error; not carried out. */
  refuse(command: string, nth: number, desc: string, errorClass?: string): FaultHandle;
  /** Not carried out, and the connection is closed. Answers to earlier commands arrive. */
  dropConnectionBefore(command: string, nth: number): FaultHandle;
  /** Carried out; the connection is closed in place of an answer. */
  dropConnectionAfter(command: string, nth: number): FaultHandle;
  /** The command, and all that follow on its connection, wait until `release()`. */
  hang(command: string, nth: number): FaultHandle;
}

export interface FaultHandle {
  /** Resolves when the command has arrived. */
  readonly reached: Promise<void>;
  /** Lets a hanging command go on; for the other faults it does nothing. */
  release(): void;
}

export type FaultKind =
  | { readonly kind: "refuse"; readonly desc: string; readonly errorClass: string }
  | { readonly kind: "drop-before" | "drop-after" | "hang" };

export interface Fault {
  readonly what: FaultKind;
  readonly released: Promise<void>;
}

interface PlannedFault extends Fault {
  readonly command: string;
  readonly reach: () => void;
  left: number;
}

export class FaultPlan implements Faults {
  #planned: PlannedFault[] = [];

  refuse(command: string, nth: number, desc: string, errorClass = "GenericError"): FaultHandle {
    return this.#plan(command, nth, { kind: "refuse", desc, errorClass });
  }

  dropConnectionBefore(command: string, nth: number): FaultHandle {
    return this.#plan(command, nth, { kind: "drop-before" });
  }

  dropConnectionAfter(command: string, nth: number): FaultHandle {
    return this.#plan(command, nth, { kind: "drop-after" });
  }

  hang(command: string, nth: number): FaultHandle {
    return this.#plan(command, nth, { kind: "hang" });
  }

  /** Counts one arrival of `command`; the fault that is due then, the one that was set first where there are more. */
  take(command: string): Fault | undefined {
    let due: PlannedFault | undefined;
    for (const fault of this.#planned) {
      if (fault.command !== command) continue;
      fault.left -= 1;
      if (fault.left <= 0) due ??= fault;
    }
    if (due === undefined) return undefined;
    this.#planned = this.#planned.filter((fault) => fault !== due);
    due.reach();
    return due;
  }

  #plan(command: string, nth: number, what: FaultKind): FaultHandle {
    if (!Number.isInteger(nth) || nth < 1) throw new RangeError(`nth counts from 1, not ${nth}`);
    const reached = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    this.#planned.push({ command, left: nth, what, reach: reached.resolve, released: released.promise });
    return { reached: reached.promise, release: released.resolve };
  }
}
