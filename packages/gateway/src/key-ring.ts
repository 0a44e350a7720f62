/**
 * API keys → tenants. Owns the look-up: keys are held as SHA-256 digests only, found in O(1) and compared in constant
 * time. Where keys come from is tenant-keys.ts's.
 */
import { createHash, hash, timingSafeEqual } from 'node:crypto';
import type { Tenant } from '@aim-gpu/core';

/** One key of a tenant, as its digest. */
export interface KeyDigest {
  readonly tenant: Tenant;
  /** SHA-256 of the key, 64 hex digits. */
  readonly digest: string;
}

/** Finds tenants by key. */
export interface KeyRing {
  readonly size: number;
  /** The tenant of a presented key; null when nobody has it. */
  find(key: string): Tenant | null;
}

/** SHA-256 of a key as 64 lower-case hex digits, the only form in which keys are kept. */
export function digestKey(key: string): string {
  return createHash('sha256').update(key, 'utf8').digest('hex');
}

/** Makes a key ring. Of two tenants with the same key the first one has it. */
export function createKeyRing(keys: readonly KeyDigest[]): KeyRing {
  const byDigest = new Map<string, { readonly digest: Buffer; readonly tenant: Tenant }>();
  for (const { tenant, digest } of keys) {
    const id = digest.toLowerCase();
    if (!byDigest.has(id)) byDigest.set(id, { digest: Buffer.from(id, 'hex'), tenant });
  }
  return {
    get size() {
      return byDigest.size;
    },
    find: (key) => {
      // In one step: a hash object of its own costs as much again.
      const digest = hash('sha256', key, 'buffer');
      const entry = byDigest.get(digest.toString('hex'));
      // The map compares digests, which an attacker cannot steer; the comparison that decides takes constant time.
      return entry !== undefined && timingSafeEqual(entry.digest, digest) ? entry.tenant : null;
    },
  };
}

/** The key of an `Authorization: Bearer …` header; null when there is none. */
export function bearerKey(header: string | undefined): string | null {
  if (header === undefined) return null;
  const match = /^Bearer +(\S+)$/i.exec(header.trim());
  return match?.[1] ?? null;
}
