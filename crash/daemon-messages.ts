/** What the campaign and its daemon say to each other. */
import type { ErrorJson } from "../src/base/errors.ts";
import type { Facade } from "../src/service/facade.ts";

/** Where the engine is to be interrupted, in counts of the points that it comes to. */
export interface Plot {
  readonly victim: "daemon" | "qemu" | "daemon+qemu";
  /** The n-th point, or with `failIndex` the n-th after that one. */
  readonly index: number;
  /** The point that fails. */
  readonly failIndex?: number;
}

export type UseCase = Exclude<keyof Facade, "watchEvents" | "watchOperation">;

export type ToDaemon =
  | { readonly kind: "call"; readonly id: number; readonly method: UseCase; readonly args: readonly unknown[] }
  | { readonly kind: "plot"; readonly plot: Plot }
  | { readonly kind: "close" };

export type FromDaemon =
  | { readonly kind: "ready" }
  | { readonly kind: "plotted" }
  | { readonly kind: "point"; readonly point: string }
  | { readonly kind: "answer"; readonly id: number; readonly value: unknown }
  | { readonly kind: "refusal"; readonly id: number; readonly error: ErrorJson };
