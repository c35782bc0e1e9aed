/** Reading an answer's bytes as one text or as JSON lines. */

/** An answer, or one line of a stream, longer than this is refused. */
export const maxTextBytes = 64 * 1024 * 1024;

/** All of `chunks` as UTF-8. */
export async function readText(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let sizeBytes = 0;
  for await (const chunk of chunks) {
    sizeBytes += chunk.byteLength;
    refuseTooLong(sizeBytes);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** Each line of `chunks`, parsed, as soon as it is complete. A cut-off last line is dropped. */
export async function* readJsonLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<unknown, void, undefined> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    refuseTooLong(rest.length);
    for (const line of lines) if (line !== "") yield JSON.parse(line) as unknown;
  }
}

function refuseTooLong(sizeBytes: number): void {
  if (sizeBytes > maxTextBytes) throw new RangeError(`answer exceeds the limit of ${maxTextBytes} bytes`);
}
