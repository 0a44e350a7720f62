/**
 * The journal and the lease of repartitions in a state store. Owns their names and how long history is kept.
 */
import { AimError, type CallOptions, type Lease, type StateStore } from '@aim-gpu/core';
import { parseRepartitionRecords } from './schema.js';
import { newestTransactions, openTransaction, type RepartitionRecord } from './transaction.js';

const NAME = 'repartition';
/** The journal is shortened to the newest transactions when it has more records than this. */
const MOST_RECORDS = 400;
const KEPT_TRANSACTIONS = 20;

/**
 * Every repartition of this state store, oldest record first. Throws `ERR_STATE_CORRUPT` (internal).
 */
export async function readRepartitionHistory(
  store: StateStore,
): Promise<readonly RepartitionRecord[]> {
  return parseRepartitionRecords(await store.journal<unknown>(NAME).read());
}

/** Writes a record; it survives a power cut when this resolves. */
export async function appendRecord(store: StateStore, record: RepartitionRecord): Promise<void> {
  await store.journal<RepartitionRecord>(NAME).append(record);
}

/** Drops old transactions from a journal without an open one. */
export async function shortenHistory(store: StateStore): Promise<void> {
  const records = await readRepartitionHistory(store);
  if (records.length <= MOST_RECORDS || openTransaction(records) !== null) return;
  await store
    .journal<RepartitionRecord>(NAME)
    .compact(newestTransactions(records, KEPT_TRANSACTIONS));
}

/** Takes the lease under which layouts may be changed. Throws `ERR_STATE_LOCKED` (conflict) with the holder's pid. */
export function takeRepartitionLease(store: StateStore, options?: CallOptions): Promise<Lease> {
  return store.lock(NAME, options);
}

/** Says that another plan was begun and neither finished nor rolled back. */
export function unfinishedError(id: string): AimError {
  return new AimError({
    code: 'ERR_REPARTITION_UNFINISHED',
    kind: 'conflict',
    message: `repartition ${id} was begun and not finished`,
    details: { plan: id },
    hint: 'recover it first',
    retryable: false,
  });
}
