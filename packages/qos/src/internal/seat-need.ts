/**
 * How many sequences a band lately had at once, so that no more room than it needs is kept for it. Owns the mean and its
 * spread; how far a need is honoured is the ceiling's.
 */

/** Arrivals that the mean is taken over, about. */
const ARRIVALS = 32;
/** Above the mean by so many standard deviations, some seven arrivals in a hundred wait for the next end. */
const DEVIATIONS = 1.5;

export class SeatNeed {
  // Not `#`: asked for each request.
  private mean: number = 0;
  private variance: number = 0;
  private tokens: number = 0;
  private seen: number = 0;

  /** Takes note of an arrival: sequences of its band with it, running and waiting, and tokens it needs. */
  arrived(seqs: number, tokens: number): void {
    if (this.seen === 0) {
      this.seen = 1;
      this.mean = seqs;
      // Until there is more to go by, arrivals count as independent of each other.
      this.variance = seqs;
      this.tokens = tokens;
      return;
    }
    let share = 1 / ARRIVALS;
    if (this.seen < ARRIVALS) {
      this.seen += 1;
      share = 1 / this.seen;
    }
    const off = seqs - this.mean;
    this.mean += share * off;
    this.variance += share * (off * off - this.variance);
    this.tokens += share * (tokens - this.tokens);
  }

  /** Sequences that are likely to be wanted at once, a whole number. */
  get seqs(): number {
    return Math.floor(this.mean + DEVIATIONS * Math.sqrt(this.variance));
  }

  /** Tokens of one of them. */
  get tokensEach(): number {
    return this.tokens;
  }
}
