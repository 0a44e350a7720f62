/**
 * How much of something comes a second, as a mean over about ten seconds. Adding is two operations; owns no judgement.
 */
const WINDOW_MS = 10_000;
const FOLD_MS = 500;

export class RateMeter {
  #rate: number = 0;
  #sum: number = 0;
  #sinceMs: number = Number.NaN;
  #measuredMs: number = 0;

  add(amount: number, nowMs: number): void {
    if (!(nowMs - this.#sinceMs < FOLD_MS)) this.#fold(nowMs);
    this.#sum += amount;
  }

  perSecond(nowMs: number): number {
    if (!(nowMs - this.#sinceMs < FOLD_MS)) this.#fold(nowMs);
    return this.#rate;
  }

  #fold(nowMs: number): void {
    const elapsed = nowMs - this.#sinceMs;
    this.#sinceMs = nowMs;
    // The first call and a clock that went back only start the count.
    if (!(elapsed > 0)) return;
    this.#measuredMs += elapsed;
    const share =
      this.#measuredMs < WINDOW_MS
        ? elapsed / this.#measuredMs
        : 1 - Math.exp(-elapsed / WINDOW_MS);
    this.#rate += share * ((this.#sum / elapsed) * 1000 - this.#rate);
    this.#sum = 0;
  }
}
