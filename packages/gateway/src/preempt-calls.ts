/**
 * What a permit calls when its endpoint is needed for a higher band: a function for each exchange under way, made once
 * and lent to one exchange after another. One made for each request was seen to carry 5 kB of every request into V8's
 * old generation, dead as they were, which took a sixth of the gateway's time. Owns who has which.
 */

/** Who is told. */
export interface Preemptible {
  preempted(): void;
}

/** A function that is lent. */
export class PreemptCall {
  /** Who has it; null while nobody has. */
  holder: Preemptible | null = null;
  /** For `permit.onPreempt`. */
  readonly ring: () => void = () => this.holder?.preempted();
}

/** Lends them. */
export interface PreemptCalls {
  lend(to: Preemptible): PreemptCall;
  /** From then on it rings nobody. */
  takeBack(call: PreemptCall): void;
}

/** Makes a stock of them, as many as there were exchanges at a time. */
export function createPreemptCalls(): PreemptCalls {
  const free: PreemptCall[] = [];
  return {
    lend: (to) => {
      const call = free.pop() ?? new PreemptCall();
      call.holder = to;
      return call;
    },
    takeBack: (call) => {
      call.holder = null;
      free.push(call);
    },
  };
}
