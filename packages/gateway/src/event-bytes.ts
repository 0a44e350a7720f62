/**
 * The format of event streams, as bytes: where an event ends and what its data are. Lines may end in LF, CR or both, as
 * the format says (WHATWG HTML, 9.2.5). Knows nothing of what events mean.
 */

const LF = 0x0a;
const CR = 0x0d;
const BYTE_ORDER_MARK = '\ufeff';

/** Bytes of an end of which a search has to begin anew when more bytes have come. */
const LONGEST_CUT = 3;

/** Bytes of an event that has not ended yet, and the search for its end. Takes time by bytes, however they are cut. */
export class EventBytes {
  /** With room behind the bytes when they are more than one piece. */
  private buffer: Buffer = EMPTY;
  private isOwn: boolean = false;
  private searched: number = 0;
  private hasCarriage: boolean = false;
  length: number = 0;

  push(chunk: Buffer): void {
    this.hasCarriage ||= chunk.includes(CR);
    if (this.length === 0) {
      this.buffer = chunk;
      this.isOwn = false;
      this.length = chunk.length;
      return;
    }
    const length = this.length + chunk.length;
    if (!this.isOwn || length > this.buffer.length) {
      const larger = Buffer.allocUnsafe(2 * length);
      larger.set(this.buffer.subarray(0, this.length));
      this.buffer = larger;
      this.isOwn = true;
    }
    this.buffer.set(chunk, this.length);
    this.length = length;
  }

  /** The next whole event, which ends with its blank line; null when there is none yet. */
  next(): Buffer | null {
    const bytes = this.buffer.subarray(0, this.length);
    const end = this.hasCarriage
      ? endByLines(bytes, this.searched)
      : endPlain(bytes, this.searched);
    if (end < 0) {
      this.searched = Math.max(0, this.length - LONGEST_CUT);
      return null;
    }
    // What comes is written behind what is kept, so that what was taken stays as it is.
    this.buffer = this.buffer.subarray(end);
    this.length -= end;
    this.searched = 0;
    return bytes.subarray(0, end);
  }

  /** All that is left. */
  rest(): Buffer {
    const bytes = this.buffer.subarray(0, this.length);
    this.buffer = EMPTY;
    this.length = 0;
    this.searched = 0;
    return bytes;
  }
}

const EMPTY = Buffer.alloc(0);

function endPlain(bytes: Buffer, from: number): number {
  const at = bytes.indexOf('\n\n', from);
  return at < 0 ? -1 : at + 2;
}

function endByLines(bytes: Buffer, from: number): number {
  const { length } = bytes;
  let isEmpty = false;
  for (let at = from; at < length; ) {
    const byte = bytes[at];
    at += 1;
    if (byte !== LF && byte !== CR) {
      isEmpty = false;
      continue;
    }
    if (byte === CR && bytes[at] === LF) at += 1;
    if (isEmpty) return at;
    isEmpty = true;
  }
  return -1;
}

/** The data of an event, its lines joined; empty for a comment. */
export function dataOf(event: Buffer): string {
  const text = event.toString('utf8');
  return (text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text)
    .split(/\r\n|\n|\r/)
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice('data:'.length).trimStart())
    .join('\n');
}
