/**
 * How fast prompts of lower bands are sent while urgent requests come: an engine reads prompts one after the other, so
 * whatever was sent before an urgent request is read before its own. Owns the measure of that backlog and its bound;
 * knows no seats and no queue.
 */

/** Requests that the means are taken over, about. */
const REQUESTS = 16;
/** After so long without a first byte an answer comes whole, and its prompt was read long ago. */
const MOST_MS = 2_000;

/** Prompts of lower bands at one endpoint that have no first byte yet. */
export class PromptBacklog {
  #count: number = 0;
  #tokens: number = 0;
  #readMs: number = Number.NEGATIVE_INFINITY;

  /**
   * Whether another prompt may be sent: one always may when there is no other, more of them while together they are
   * no longer than `budgetTokens`.
   */
  takes(promptTokens: number, budgetTokens: number, nowMs: number): boolean {
    if (this.#count === 0 || nowMs >= this.#readMs) return true;
    return this.#tokens + promptTokens <= budgetTokens;
  }

  /** Takes note of a prompt that is sent and takes about so long to be read. */
  add(promptTokens: number, prefillMs: number, nowMs: number): void {
    this.#count += 1;
    this.#tokens += promptTokens;
    this.#readMs = Math.min(Math.max(this.#readMs, nowMs) + prefillMs, nowMs + MOST_MS);
  }

  /** Takes note that a prompt was read, or given up. */
  remove(promptTokens: number): void {
    this.#count = Math.max(0, this.#count - 1);
    this.#tokens = Math.max(0, this.#tokens - promptTokens);
    if (this.#count > 0) return;
    this.#tokens = 0;
    this.#readMs = Number.NEGATIVE_INFINITY;
  }

  /** When everything sent has been read by the length of it; Infinity when that is not awaited. */
  opensByItselfMs(nowMs: number): number {
    return this.#count > 0 && this.#readMs > nowMs ? this.#readMs : Number.POSITIVE_INFINITY;
  }
}

/** What is known of the prompts of one model and of how long they take. */
export class PromptPace {
  #urgentTokens: number = 0;
  #firstByteMs: number = 0;
  #firstByteTokens: number = 0;
  #firstBytes: number = 0;
  /** Whether the last answer of a lower band came whole: then its first byte says nothing of its prompt. */
  #isWhole: boolean = false;

  /**
   * Prompt tokens that lower bands may have unread at one endpoint: as many as an urgent request brings, so that what it
   * meets takes no longer than its own.
   */
  get budgetTokens(): number {
    return this.#urgentTokens;
  }

  /** Takes note of an urgent request's prompt. */
  urgent(promptTokens: number): void {
    this.#urgentTokens +=
      (promptTokens - this.#urgentTokens) / (this.#urgentTokens === 0 ? 1 : REQUESTS);
  }

  /** Takes note of how long the first byte of a stream took from its dispatch. */
  streamed(promptTokens: number, firstByteMs: number): void {
    if (this.#firstBytes < REQUESTS) this.#firstBytes += 1;
    this.#firstByteMs += (firstByteMs - this.#firstByteMs) / this.#firstBytes;
    this.#firstByteTokens += (promptTokens - this.#firstByteTokens) / this.#firstBytes;
  }

  /** Takes note of how an answer of a lower band came. */
  lowerCame(whole: boolean): void {
    this.#isWhole = whole;
  }

  /** About how long a prompt takes to be read; 0 while nobody knows. Twice that where a first byte will tell anyway. */
  prefillMs(promptTokens: number): number {
    const longer = Math.max(1, promptTokens / Math.max(1, this.#firstByteTokens));
    return this.#firstByteMs * longer * (this.#isWhole ? 1 : 2);
  }
}
