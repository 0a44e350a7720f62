/**
 * The layouts to come back to, kept in the state store. Owns the snapshot's name; restoring is an ordinary plan towards
 * what was kept.
 */
import { AimError, type Inventory, type StateStore } from '@aim-gpu/core';
import { exportLayout, type LayoutSpec, parseLayoutSpec } from './layout-spec.js';

const NAME = 'layout-checkpoint';

/** Keeps the layouts a node has, in place of those kept before. Throws as {@link exportLayout}, and the store's errors. */
export async function checkpoint(store: StateStore, inventory: Inventory): Promise<LayoutSpec> {
  const document = exportLayout(inventory);
  await store.snapshot<LayoutSpec>(NAME).write(document);
  return document;
}

/** What was kept; null when nothing was. Throws `ERR_STATE_CORRUPT` (internal). */
export async function readCheckpoint(store: StateStore): Promise<LayoutSpec | null> {
  const kept = await store.snapshot<unknown>(NAME).read();
  if (kept === null) return null;
  try {
    return parseLayoutSpec(JSON.stringify(kept));
  } catch (cause) {
    throw new AimError({
      code: 'ERR_STATE_CORRUPT',
      kind: 'internal',
      message: 'the kept layouts cannot be read',
      details: { snapshot: NAME },
      hint: 'write new ones with `aim-gpu partition export`, and restore from that file',
      cause,
    });
  }
}
