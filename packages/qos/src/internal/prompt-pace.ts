/**
 * How fast prompts of lower bands are sent while urgent requests come: an engine reads prompts one after the other, so
 * whatever was sent before an urgent request is read before its own. Owns the measure of that backlog and its bound;
 * knows no seats and no queue.
 */

/** Requests that the means are taken over, about. */
const REQUESTS = 16;
const SHARE: number = 1 / REQUESTS;
/** After so long without a first byte an answer comes whole, and its prompt was read long ago. */
const MOST_MS = 2_000;

/** Prompts of lower bands at one endpoint that have no first byte yet. */
export class PromptBacklog {
  // Not `#`: used for each request of a lower band.
  private count: number = 0;
  private tokens: number = 0;
  private readMs: number = Number.NEGATIVE_INFINITY;
  /** Whether somebody was told to wait since a prompt was last read. */
  private isAwaited: boolean = false;

  /**
   * Whether another prompt may be sent: one always may when there is no other, more of them while together they are
   * no longer than `budgetTokens`.
   */
  takes(promptTokens: number, budgetTokens: number, nowMs: number): boolean {
    if (this.count === 0 || nowMs >= this.readMs) return true;
    const hasRoom = this.tokens + promptTokens <= budgetTokens;
    if (!hasRoom) this.isAwaited = true;
    return hasRoom;
  }

  /** Takes note of a prompt that is sent and takes about so long to be read. */
  add(promptTokens: number, prefillMs: number, nowMs: number): void {
    this.count += 1;
    this.tokens += promptTokens;
    this.readMs = Math.min(Math.max(this.readMs, nowMs) + prefillMs, nowMs + MOST_MS);
  }

  /** Takes note that a prompt was read, or given up. True when somebody has waited for that. */
  remove(promptTokens: number): boolean {
    this.count = Math.max(0, this.count - 1);
    this.tokens = Math.max(0, this.tokens - promptTokens);
    if (this.count === 0) {
      this.tokens = 0;
      this.readMs = Number.NEGATIVE_INFINITY;
    }
    const wasAwaited = this.isAwaited;
    this.isAwaited = false;
    return wasAwaited;
  }

  /** When everything sent has been read by the length of it; Infinity when that is not awaited. */
  opensByItselfMs(nowMs: number): number {
    return this.count > 0 && this.readMs > nowMs ? this.readMs : Number.POSITIVE_INFINITY;
  }
}

/** What is known of the prompts of one model and of how long they take. */
export class PromptPace {
  // Not `#`: used for each request.
  private urgentTokens: number = 0;
  private urgentSeen: number = 0;
  private firstByteMs: number = 0;
  private streamsSeen: number = 0;
  /** Whether the last answer of a lower band came whole: then its first byte says nothing of its prompt. */
  private isWhole: boolean = false;

  /**
   * Prompt tokens that lower bands may have unread at one endpoint: as many as an urgent request brings, so that what it
   * meets takes no longer than its own.
   */
  get budgetTokens(): number {
    return this.urgentTokens;
  }

  /** Takes note of an urgent request and of how long its first byte took from its dispatch; null when it came whole. */
  urgent(promptTokens: number, firstByteMs: number | null): void {
    let share = SHARE;
    if (this.urgentSeen < REQUESTS) {
      this.urgentSeen += 1;
      share = 1 / this.urgentSeen;
    }
    this.urgentTokens += share * (promptTokens - this.urgentTokens);
    if (firstByteMs !== null) this.streamed(firstByteMs);
  }

  /** Takes note of a lower band's answer in the same way. */
  lower(firstByteMs: number | null): void {
    this.isWhole = firstByteMs === null;
    if (firstByteMs !== null) this.streamed(firstByteMs);
  }

  /** About how long a prompt takes to be read; 0 while nobody knows. Twice that where a first byte will tell anyway. */
  prefillMs(promptTokens: number): number {
    const longer = Math.max(1, promptTokens / Math.max(1, this.urgentTokens));
    return this.firstByteMs * longer * (this.isWhole ? 1 : 2);
  }

  private streamed(firstByteMs: number): void {
    let share = SHARE;
    if (this.streamsSeen < REQUESTS) {
      this.streamsSeen += 1;
      share = 1 / this.streamsSeen;
    }
    this.firstByteMs += share * (firstByteMs - this.firstByteMs);
  }
}
