/**
 * Awaits all, then rejects with the first error in order: unlike `Promise.all`, nothing is still in flight when it returns,
 * so that an undo does not race with what it undoes.
 */
export async function allSettledOrFirstError<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(promises);
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
}
