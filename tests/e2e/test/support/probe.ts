/**
 * A client that asks models through the gateway again and again while something goes wrong, and what it heard.
 */

/** What a client heard. */
export interface Heard {
  /** Answers by status; 0 where the connection broke. */
  readonly statuses: Readonly<Record<string, number>>;
  readonly slowestMs: number;
  /** Refusals that did not say when to come back. */
  readonly withoutRetryAfter: number;
  /** What answered, when it was not the model. */
  readonly strange: readonly string[];
}

/** A client of some models. */
export interface Probe {
  /** Ends its loops and says what it heard, by model. */
  stop(): Promise<Readonly<Record<string, Heard>>>;
}

/** Starts asking; one request at a time for each model. */
export function startProbe(gateway: string, models: readonly string[]): Probe {
  const going = { on: true };
  const heard = models.map(async (model): Promise<readonly [string, Heard]> => {
    const statuses: Record<string, number> = {};
    const strange: string[] = [];
    let slowestMs = 0;
    let withoutRetryAfter = 0;
    while (going.on) {
      const began = performance.now();
      const answer = await ask(gateway, model).catch(() => null);
      slowestMs = Math.max(slowestMs, performance.now() - began);
      const status = answer?.status ?? 0;
      statuses[status] = (statuses[status] ?? 0) + 1;
      if (status === 503 && answer?.retryAfter === null) withoutRetryAfter += 1;
      if (status === 200 && answer !== null && !answer.text.includes('"choices"')) {
        strange.push(answer.text);
      }
      await new Promise((resolve) => setTimeout(resolve, status === 200 ? 10 : 100));
    }
    return [model, { statuses, slowestMs: Math.round(slowestMs), withoutRetryAfter, strange }];
  });
  return {
    stop: async () => {
      going.on = false;
      return Object.fromEntries(await Promise.all(heard));
    },
  };
}

/** One request for a few tokens. */
export async function ask(gateway: string, model: string, more: object = {}) {
  const answer = await fetch(`${gateway}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model,
      messages: [{ role: 'user', content: 'hello' }],
      max_tokens: 2,
      ...more,
    }),
    signal: AbortSignal.timeout(25_000),
  });
  const text = await answer.text();
  return { status: answer.status, text, retryAfter: answer.headers.get('retry-after') };
}
