/**
 * Sends requests to every model of a running gateway with the official OpenAI client, JSON and streaming, and prints
 * what a client sees of each: TTFT, TPOT, tokens a second.
 */
import OpenAI from 'openai';

const REQUESTS = 3;
const MAX_TOKENS = 48;
const PROMPT = 'Explain in two sentences why two models on one GPU need hard limits.';

interface Row {
  readonly model: string;
  readonly place: string;
  readonly ttftMs: number;
  readonly tpotMs: number;
  readonly tokensPerSecond: number;
}

/** Asks every model; true when each of them answered completely both ways. */
export async function ask(options: {
  readonly baseUrl: string;
  readonly places: Readonly<Record<string, string>>;
}): Promise<boolean> {
  const client = new OpenAI({ baseURL: options.baseUrl, apiKey: 'anonymous' });
  const models = (await client.models.list()).data.filter(({ id }) => id in options.places);
  const rows: Row[] = [];
  for (const { id } of models) {
    await askOnce(client, id);
    rows.push({ model: id, place: options.places[id] ?? '', ...(await measure(client, id)) });
  }
  console.log(toTable(rows));
  return rows.length === Object.keys(options.places).length;
}

async function askOnce(client: OpenAI, model: string): Promise<void> {
  const answer = await client.chat.completions.create({
    model,
    messages: [{ role: 'user', content: PROMPT }],
    max_tokens: MAX_TOKENS,
  });
  const text = answer.choices[0]?.message.content ?? '';
  if (text === '' || answer.usage?.completion_tokens === undefined)
    throw new Error(`${model} gave an empty answer`);
}

async function measure(
  client: OpenAI,
  model: string,
): Promise<Pick<Row, 'ttftMs' | 'tpotMs' | 'tokensPerSecond'>> {
  let ttftMs = 0;
  let tpotMs = 0;
  let tokensPerSecond = 0;
  for (let request = 0; request < REQUESTS; request += 1) {
    const start = performance.now();
    const stream = await client.chat.completions.create({
      model,
      messages: [{ role: 'user', content: PROMPT }],
      max_tokens: MAX_TOKENS,
      stream: true,
      stream_options: { include_usage: true },
    });
    let first = 0;
    let last = 0;
    let tokens = 0;
    for await (const chunk of stream) {
      if ((chunk.choices[0]?.delta.content ?? '') !== '') {
        last = performance.now();
        first ||= last;
      }
      tokens = chunk.usage?.completion_tokens ?? tokens;
    }
    if (first === 0 || tokens < 2) throw new Error(`${model} streamed no answer`);
    ttftMs += (first - start) / REQUESTS;
    tpotMs += (last - first) / (tokens - 1) / REQUESTS;
    tokensPerSecond += (tokens * 1000) / (last - start) / REQUESTS;
  }
  return { ttftMs, tpotMs, tokensPerSecond };
}

function toTable(rows: readonly Row[]): string {
  const lines = rows.map((row) => [
    row.model,
    row.place,
    `${row.ttftMs.toFixed(0)} ms`,
    `${row.tpotMs.toFixed(1)} ms`,
    row.tokensPerSecond.toFixed(0),
  ]);
  const all = [['MODEL', 'PARTITION', 'TTFT', 'TPOT', 'TOKENS/S'], ...lines];
  const widths =
    all[0]?.map((_, column) => Math.max(...all.map((line) => (line[column] ?? '').length))) ?? [];
  return all
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
