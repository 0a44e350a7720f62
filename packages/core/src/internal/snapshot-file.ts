/**
 * A snapshot as a file of one record line, replaced whole. Owns when it counts as unreadable.
 */
import type { Clock } from '../clock.js';
import { AimError } from '../errors.js';
import type { Snapshot } from '../state-store.js';
import { readFileIfAny, replaceFile, versionOfFile } from './durable-file.js';
import { fromRecordLine, toRecordLine } from './record-line.js';
import { createSerialQueue } from './serial-queue.js';

/** Makes the snapshot at `path`; `prepare` runs before each write. One of them for each file in a process. */
export function createSnapshotFile(options: {
  readonly path: string;
  readonly prepare: () => Promise<void>;
  readonly clock: Clock;
}): Snapshot<unknown> {
  const { path, prepare, clock } = options;
  const inOrder = createSerialQueue();

  const read = async (): Promise<unknown> => {
    const content = await readFileIfAny(path);
    if (content === null) return null;
    const decoded = fromRecordLine(content.subarray(0, -1));
    if (decoded.ok && content.at(-1) === 0x0a) return decoded.record;
    throw new AimError({
      code: 'ERR_STATE_CORRUPT',
      kind: 'internal',
      message: `${path} is not what was written`,
      details: { path },
      hint: `move ${path} aside to go on without it`,
    });
  };
  const write = async (value: unknown): Promise<void> => {
    const content = toRecordLine(value);
    await prepare();
    await replaceFile(path, content);
  };

  return {
    read: () => inOrder(read),
    write: (value) => inOrder(() => write(value)),
    version: () => versionOfFile(path, clock.epochMs()),
  };
}
