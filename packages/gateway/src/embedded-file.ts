/**
 * Whether a text of a request is a file that somebody embedded: pictures and recordings have far fewer tokens than bytes.
 * Looks at a few hundred bytes, however long the text.
 */

const DATA_URL = Buffer.from('data:');
const LEAST_URL_BYTES = 64;
/** Text of that length has blanks; base64 has none, nor escapes. */
const LEAST_BASE64_BYTES = 4096;
const LOOK_BYTES = 128;

/** Of the text between two places, without its quotes. */
export function isEmbeddedFile(bytes: Buffer, start: number, end: number): boolean {
  const length = end - start;
  if (length <= LEAST_URL_BYTES) return false;
  if (beginsWith(bytes, start, DATA_URL)) return true;
  if (length < LEAST_BASE64_BYTES) return false;
  const middle = start + Math.floor(length / 2);
  // Its end may be padded.
  return [start, middle, end - 2 * LOOK_BYTES].every((at) => isBase64(bytes, at, at + LOOK_BYTES));
}

function beginsWith(bytes: Buffer, start: number, want: Buffer): boolean {
  for (let index = 0; index < want.length; index += 1)
    if (bytes[start + index] !== want[index]) return false;
  return true;
}

function isBase64(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] as number;
    const lower = byte | 0x20;
    const isLetter = lower >= 0x61 && lower <= 0x7a;
    // Digits, `/` and `+`.
    if (!isLetter && !(byte >= 0x2f && byte <= 0x39) && byte !== 0x2b) return false;
  }
  return true;
}
