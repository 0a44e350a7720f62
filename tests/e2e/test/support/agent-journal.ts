/**
 * The journal of an agent from outside: which process was written down for an instance, as soon as it was.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';

/** One process as it was written down before it ran. */
export interface NotedStart {
  readonly pid: number;
  readonly port: number;
}

interface JournalRecord {
  readonly type: string;
  readonly key?: string;
  readonly ready?: boolean;
  readonly mark?: { readonly pid: number };
  readonly address?: { readonly port: number };
}

/** The records of a journal of the state directory, whole ones only. */
export function recordsOf(stateDirectory: string, name: string): readonly string[] {
  try {
    const text = readFileSync(path.join(stateDirectory, `${name}.jsonl`), 'utf8');
    return text.split('\n').slice(0, -1);
  } catch {
    return [];
  }
}

/** Starts of an instance that were written down and were not ready yet. */
export function startsOf(stateDirectory: string, instance: string): readonly NotedStart[] {
  return recordsOf(stateDirectory, 'assigned').flatMap((line) => {
    const record = toRecord(line);
    const { mark, address } = record;
    const mine = record.type === 'process' && record.key?.startsWith(`${instance}@`) === true;
    if (!mine || record.ready !== false || mark === undefined || address === undefined) return [];
    return [{ pid: mark.pid, port: address.port }];
  });
}

/** The next start of an instance, at once after it was written down. */
export async function nextStart(
  stateDirectory: string,
  instance: string,
  known: number,
): Promise<NotedStart> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    const start = startsOf(stateDirectory, instance)[known];
    if (start !== undefined) return start;
    if (performance.now() > deadline) throw new Error(`${instance} was not started within 30 s`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

function toRecord(line: string): JournalRecord {
  const parsed = JSON.parse(line.slice(line.indexOf('{'))) as JournalRecord & {
    readonly record?: JournalRecord;
  };
  return parsed.record ?? parsed;
}
