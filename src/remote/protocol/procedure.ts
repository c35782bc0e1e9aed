/** A procedure: its number, its arguments and its results, in the order of the wire. */
import { struct, type Codec, type ValueOf } from "../xdr/index.ts";

export interface Procedure<A, R> {
  readonly number: number;
  readonly name: string;
  readonly args: Codec<A>;
  readonly ret: Codec<R>;
}

type Fields = Readonly<Record<string, Codec<unknown>>>;
type Values<F extends Fields> = { readonly [K in keyof F]: ValueOf<F[K]> };

/** A procedure of the remote program. */
export function procedure<A extends Fields, R extends Fields>(
  number: number,
  name: string,
  args: A,
  ret: R,
): Procedure<Values<A>, Values<R>> {
  return { number, name, args: struct(args), ret: struct(ret) };
}
