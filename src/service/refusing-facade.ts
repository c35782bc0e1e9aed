/** Use cases over a state file that cannot be read: every one is refused, for nothing may be guessed. Only `doctor` works. */
import type { QmError } from "../base/errors.ts";
import { runDoctor } from "./doctor.ts";
import type { Facade } from "./facade.ts";

export function refuseEverything(error: QmError, directories: { stateDir: string; runtimeDir: string }): Facade {
  const refuse = (): Promise<never> => Promise.reject(error);
  // oxlint-disable-next-line require-yield -- it ends before its first item
  async function* refuseStream(): AsyncGenerator<never> {
    await refuse();
  }
  const doctor: Facade["doctor"] = () => runDoctor({ ...directories, unreadable: error });
  const target = { doctor, watchEvents: refuseStream, watchOperation: refuseStream };
  return new Proxy(target, {
    get: (known, name) => (Object.hasOwn(known, name) ? known[name as keyof typeof known] : refuse),
  }) as unknown as Facade;
}
