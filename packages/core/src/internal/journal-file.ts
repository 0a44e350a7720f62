/**
 * A journal as a file of record lines. Owns what is torn and what is corrupt: an append that a power cut interrupted
 * left a last line without newline, or with the zeros of blocks that never reached the disk; it was never promised
 * and is dropped. Any other line that does not carry its checksum was promised once and is reported.
 */
import { AimError } from '../errors.js';
import type { Journal } from '../state-store.js';
import { appendDurably, readFileIfAny, replaceFile, sizeOfFile } from './durable-file.js';
import { fromRecordLine, toRecordLine } from './record-line.js';
import { createSerialQueue } from './serial-queue.js';

const NEWLINE = 0x0a;

interface Scan<T> {
  readonly records: readonly T[];
  /** Bytes up to the end of the last whole record. */
  readonly length: number;
}

function corruptError(path: string, line: number, offset: number): AimError {
  return new AimError({
    code: 'ERR_STATE_CORRUPT',
    kind: 'internal',
    message: `line ${line} of ${path} is not what was written`,
    details: { path, line, offset },
    hint: `keep a copy of ${path}, then remove that line or the file to go on without it`,
  });
}

/** Reads every whole record. Throws `ERR_STATE_CORRUPT` for a damaged one that is not a torn tail. */
function parseJournal<T>(content: Buffer, path: string): Scan<T> {
  const records: T[] = [];
  let offset = 0;
  while (offset < content.length) {
    const end = content.indexOf(NEWLINE, offset);
    if (end === -1) break;
    const line = content.subarray(offset, end);
    const decoded = fromRecordLine<T>(line);
    if (!decoded.ok) {
      const last = end === content.length - 1;
      if (last && line.includes(0)) break;
      throw corruptError(path, records.length + 1, offset);
    }
    records.push(decoded.record);
    offset = end + 1;
  }
  return { records, length: offset };
}

/** Makes the journal at `path`; `prepare` runs before each write. One of them for each file in a process. */
export function createJournalFile(options: {
  readonly path: string;
  readonly prepare: () => Promise<void>;
}): Journal<unknown> {
  const { path, prepare } = options;
  const inOrder = createSerialQueue();
  // Where the next record goes; null until the file was read, or when it may have changed since.
  let end: number | null = null;

  const scan = async (): Promise<Scan<unknown>> => {
    const content = await readFileIfAny(path);
    return content === null ? { records: [], length: 0 } : parseJournal(content, path);
  };
  const append = async (record: unknown): Promise<void> => {
    const line = toRecordLine(record);
    await prepare();
    const size = await sizeOfFile(path);
    const start = size === 0 || size === end ? size : (await scan()).length;
    end = null;
    await appendDurably(path, { size, end: start }, line);
    end = start + Buffer.byteLength(line);
  };
  const compact = async (records: readonly unknown[]): Promise<void> => {
    const content = records.map(toRecordLine).join('');
    await prepare();
    end = null;
    await replaceFile(path, content);
  };

  return {
    append: (record) => inOrder(() => append(record)),
    read: () => inOrder(async () => (await scan()).records),
    compact: (records) => inOrder(() => compact(records)),
  };
}
