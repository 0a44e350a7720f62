/**
 * A log-linear histogram over the last minute: 32 buckets an octave (values are right within 3.2 %), kept as a ring of
 * six slices of ten seconds. Recording is a handful of integer operations; reading adds up the slices.
 */

const SLICES = 6;
const SLICE_MS = 10_000;
const SUB_BITS = 5;
/** Octaves from 2^-7 (0.008 ms) to 2^24 (4.6 hours in ms). */
const LOWEST_EXPONENT = -7;
const HIGHEST_EXPONENT = 24;
const BUCKETS = (HIGHEST_EXPONENT - LOWEST_EXPONENT) << SUB_BITS;

const scratch = new Float64Array(1);
const words = new Uint32Array(scratch.buffer);
/** Which word of a double holds its exponent: the second on the little-endian machines Node runs on. */
const HIGH = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 1 : 0;
const BASE = (1023 + LOWEST_EXPONENT) << SUB_BITS;

function bucketOf(value: number): number {
  scratch[0] = value;
  const bucket = ((words[HIGH] as number) >>> (20 - SUB_BITS)) - BASE;
  return bucket < 0 ? 0 : bucket >= BUCKETS ? BUCKETS - 1 : bucket;
}

/** Middle of a bucket. */
function middleOf(bucket: number): number {
  const exponent = (bucket >> SUB_BITS) + LOWEST_EXPONENT;
  const part = (bucket & ((1 << SUB_BITS) - 1)) / (1 << SUB_BITS);
  return 2 ** exponent * (1 + part + 0.5 / (1 << SUB_BITS));
}

export class LogHistogram {
  readonly #slices: Uint32Array = new Uint32Array(BUCKETS * SLICES);
  readonly #counts: Float64Array = new Float64Array(SLICES);
  #slice: number = 0;
  #sliceEndMs: number = Number.NaN;

  record(value: number, nowMs: number): void {
    if (!(nowMs < this.#sliceEndMs)) this.#rotate(nowMs);
    const at = this.#slice * BUCKETS + bucketOf(value > 0 ? value : 0);
    this.#slices[at] = (this.#slices[at] as number) + 1;
    this.#counts[this.#slice] = (this.#counts[this.#slice] as number) + 1;
  }

  count(nowMs: number): number {
    if (!(nowMs < this.#sliceEndMs)) this.#rotate(nowMs);
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  /** Values at the given quantiles (ascending, 0 to 1); null when nothing was recorded in the last minute. */
  quantiles(wanted: readonly number[], nowMs: number): readonly (number | null)[] {
    const total = this.count(nowMs);
    if (total === 0) return wanted.map(() => null);
    const answers: number[] = [];
    let bucket = 0;
    let seen = this.#at(0);
    for (const quantile of wanted) {
      const rank = Math.max(1, Math.ceil(quantile * total));
      while (seen < rank && bucket < BUCKETS - 1) {
        bucket += 1;
        seen += this.#at(bucket);
      }
      answers.push(middleOf(bucket));
    }
    return answers;
  }

  #at(bucket: number): number {
    let sum = 0;
    for (let slice = 0; slice < SLICES; slice += 1) {
      sum += this.#slices[slice * BUCKETS + bucket] as number;
    }
    return sum;
  }

  #rotate(nowMs: number): void {
    if (Number.isNaN(this.#sliceEndMs)) {
      this.#sliceEndMs = nowMs + SLICE_MS;
      return;
    }
    const steps = Math.min(SLICES, Math.floor((nowMs - this.#sliceEndMs) / SLICE_MS) + 1);
    for (let step = 0; step < steps; step += 1) {
      this.#slice = (this.#slice + 1) % SLICES;
      this.#slices.fill(0, this.#slice * BUCKETS, (this.#slice + 1) * BUCKETS);
      this.#counts[this.#slice] = 0;
    }
    const missed = Math.floor((nowMs - this.#sliceEndMs) / SLICE_MS) + 1;
    this.#sliceEndMs += missed * SLICE_MS;
  }
}
