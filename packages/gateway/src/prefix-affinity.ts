/**
 * Which instance has lately answered a prompt that begins alike: its cache may still hold the beginning. Owns a bounded
 * memory of digests; how much a hint counts against load is qos's to say (it follows one to an endpoint that is at most
 * a little fuller).
 */
import { createHash } from 'node:crypto';

/** Remembers where prompts were answered. */
export interface PrefixAffinity {
  /** Digests of a prompt's beginnings, longest first. */
  digest(model: string, prompt: Buffer): readonly string[];
  /** The instance that answered the longest beginning; null when nobody knows. */
  find(digests: readonly string[]): string | null;
  note(digests: readonly string[], instance: string): void;
  readonly size: number;
}

/** Lengths at which prompts are compared, in bytes: a system prompt, a long one, a conversation. */
const LENGTHS: readonly number[] = [16_384, 4_096, 1_024, 256];
const MAX_KNOWN = 10_000;

/** Makes an empty memory. */
export function createPrefixAffinity(): PrefixAffinity {
  const known = new Map<string, string>();
  return {
    digest: (model, prompt) =>
      LENGTHS.filter((length) => length <= prompt.length).map((length) =>
        createHash('sha1').update(model).update(prompt.subarray(0, length)).digest('base64'),
      ),
    find: (digests) => {
      for (const digest of digests) {
        const instance = known.get(digest);
        if (instance !== undefined) return instance;
      }
      return null;
    },
    note: (digests, instance) => {
      for (const digest of digests) {
        // Set anew, so that the oldest stands first.
        known.delete(digest);
        known.set(digest, instance);
      }
      while (known.size > MAX_KNOWN) {
        const oldest = known.keys().next();
        if (oldest.done === true) return;
        known.delete(oldest.value);
      }
    },
    get size() {
      return known.size;
    },
  };
}
