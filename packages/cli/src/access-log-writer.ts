/**
 * Where the gateway's access log goes: a file, or this program's own output, one JSON object a line. Owns the writing
 * and what happens when it cannot be written; what a record holds is the gateway's, and it never holds a prompt.
 */
import { createWriteStream, type WriteStream } from 'node:fs';
import type { AccessLog } from '@aim-gpu/gateway';
import type { CommandContext } from './context.js';

/** A log that is open. */
export interface AccessLogWriter {
  readonly write: AccessLog;
  /** Resolves when everything is written, or cannot be. */
  close(): Promise<void>;
}

/** What a slow disk may owe; records beyond it are dropped and counted. */
const MOST_OWED_BYTES = 8 * 1024 * 1024;

/** Opens the log; `-` is stdout, or stderr where stdout is for `--json`. A file is added to, and is its user's alone. */
export function openAccessLog(context: CommandContext, target: string): AccessLogWriter {
  const { io, json } = context;
  if (target === '-') {
    const print = (text: string): void => (json ? io.writeError(text) : io.writeOut(text));
    return {
      write: (record) => print(`${JSON.stringify(record)}\n`),
      close: () => Promise.resolve(),
    };
  }
  return toFile(context, createWriteStream(context.resolve(target), { flags: 'a', mode: 0o600 }));
}

function toFile({ logger }: CommandContext, stream: WriteStream): AccessLogWriter {
  let dropped = 0;
  let isBroken = false;
  // A log that cannot be written must not stop what it tells of.
  stream.on('error', (error) => {
    isBroken = true;
    logger.error('access-log-failed', { message: error.message });
  });
  return {
    write: (record) => {
      if (!isBroken && stream.writableLength < MOST_OWED_BYTES) {
        stream.write(`${JSON.stringify(record)}\n`);
        return;
      }
      dropped += 1;
    },
    close: () =>
      new Promise((resolve) => {
        if (dropped > 0) logger.warn('access-log-dropped', { records: dropped });
        stream.once('close', resolve);
        if (stream.closed) resolve();
        else stream.end();
      }),
  };
}
