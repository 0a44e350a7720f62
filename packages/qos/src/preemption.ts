/**
 * Who has to stop so that a more urgent request can start, and when the next one may be asked. Owns the choice of
 * victims and stop-and-wait; stopping them is the caller's.
 */

/** Something that runs and could be stopped. */
export interface PreemptionCandidate {
  /** Rank of its band; the larger, the sooner it is a victim. */
  readonly rank: number;
  /** When it was sent, in monotonic milliseconds; the newest has the least work to lose. */
  readonly sentMs: number;
  /** Tokens that stopping it frees. */
  readonly tokens: number;
}

/** What must become free. */
export interface PreemptionNeed {
  readonly seqs: number;
  readonly tokens: number;
}

/**
 * The fewest victims that free what is needed, lowest band first, then newest; none when even `most` of them would not
 * do, because stopping work without gaining room helps nobody.
 */
export function chooseVictims<T extends PreemptionCandidate>(
  candidates: readonly T[],
  need: PreemptionNeed,
  most: number,
): readonly T[] {
  const sorted = [...candidates].sort((a, b) => b.rank - a.rank || b.sentMs - a.sentMs);
  const chosen: T[] = [];
  let seqs = 0;
  let tokens = 0;
  for (const candidate of sorted) {
    if (seqs >= need.seqs && tokens >= need.tokens) break;
    // A small one does not help when tokens are short and only one more may be chosen.
    const isLast = chosen.length === most - 1;
    if (isLast && tokens + candidate.tokens < need.tokens) continue;
    if (chosen.length >= most) break;
    chosen.push(candidate);
    seqs += 1;
    tokens += candidate.tokens;
  }
  if (seqs < need.seqs || tokens < need.tokens) return [];
  // Whoever was chosen first may have become superfluous by a larger one after it.
  return chosen.filter((victim) => {
    const spare = seqs - 1 >= need.seqs && tokens - victim.tokens >= need.tokens;
    if (!spare) return true;
    seqs -= 1;
    tokens -= victim.tokens;
    return false;
  });
}

/** Lets one decision be made at a time. Times are monotonic milliseconds. */
export interface StopAndWait {
  /** Whether victims may be chosen now: the last ones have all gone, and the engine has had time to notice. */
  ready(nowMs: number): boolean;
  /** Takes note that so many victims were asked to stop. */
  asked(count: number, nowMs: number): void;
  /** Takes note that a victim has gone. */
  gone(nowMs: number): void;
}

const GRACE_MS = 500;
const TIMEOUT_MS = 10_000;

/** Makes a gate that is open. A victim that has not gone after 10 s is not waited for any longer. */
export function createStopAndWait(): StopAndWait {
  let outstanding = 0;
  let askedMs = Number.NEGATIVE_INFINITY;
  let quietUntilMs = Number.NEGATIVE_INFINITY;
  return {
    ready: (nowMs) => {
      if (outstanding > 0 && nowMs - askedMs >= TIMEOUT_MS) outstanding = 0;
      return outstanding === 0 && nowMs >= quietUntilMs;
    },
    asked: (count, nowMs) => {
      outstanding += count;
      askedMs = nowMs;
    },
    gone: (nowMs) => {
      outstanding = Math.max(0, outstanding - 1);
      if (outstanding === 0) quietUntilMs = nowMs + GRACE_MS;
    },
  };
}
