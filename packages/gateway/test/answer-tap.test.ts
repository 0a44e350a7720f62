/** What taps let through, hold back, take out and learn. */
import { describe, expect, it, vi } from 'vitest';
import { createStreamTap } from '../src/answer-tap.js';
import { usageOfAnswer, withinBounds } from '../src/reported-usage.js';

const ROLE = 'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n';
const ONE = 'data: {"choices":[{"index":0,"delta":{"content":"one"},"finish_reason":null}]}\n\n';
const LAST = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n';
const USAGE =
  'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}}\n\n';
const DONE = 'data: [DONE]\n\n';

/** What comes out when a text goes in cut into pieces of `size` bytes. */
function pass(text: string, options: { stripUsage: boolean; size?: number }): string {
  const tap = createStreamTap(options);
  const bytes = Buffer.from(text);
  const size = options.size ?? bytes.length;
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) out.push(tap.push(bytes.subarray(at, at + size)));
  out.push(tap.end());
  return Buffer.concat(out).toString('utf8');
}

/** Bytes that are searched and put together meanwhile. */
function bytesTouched(work: () => void): number {
  let bytes = 0;
  const { indexOf } = Buffer.prototype;
  const { concat } = Buffer;
  const searches = vi.spyOn(Buffer.prototype, 'indexOf').mockImplementation(function (
    this: Buffer,
    ...args: unknown[]
  ) {
    const [, from] = args;
    bytes += this.length - (typeof from === 'number' ? from : 0);
    return Reflect.apply(indexOf, this, args) as number;
  });
  const joins = vi.spyOn(Buffer, 'concat').mockImplementation((parts) => {
    for (const part of parts) bytes += part.length;
    return concat(parts);
  });
  work();
  searches.mockRestore();
  joins.mockRestore();
  return bytes;
}

describe('the tap of a stream', () => {
  const stream = `: hello\n\n${ROLE}${ONE}${LAST}${USAGE}${DONE}`;

  it.each([1, 2, 7, 64, 10_000])('passes every byte on, cut into pieces of %i', (size) => {
    expect(pass(stream, { stripUsage: false, size })).toBe(stream);
  });

  it.each([1, 3, 50, 10_000])('takes out the usage that nobody asked for, pieces of %i', (size) => {
    expect(pass(stream, { stripUsage: true, size })).toBe(`: hello\n\n${ROLE}${ONE}${LAST}${DONE}`);
  });

  it('holds comments and the opening chunk until the first content', () => {
    const tap = createStreamTap({ stripUsage: true });
    expect(tap.push(Buffer.from(`: ping\n\n${ROLE}`))).toHaveLength(0);
    expect(tap.hasContent).toBe(false);
    expect(tap.push(Buffer.from(ONE)).toString()).toBe(`: ping\n\n${ROLE}${ONE}`);
    expect(tap.hasContent).toBe(true);
  });

  it('holds a bounded amount of them', () => {
    const tap = createStreamTap({ stripUsage: true });
    let passed = 0;
    for (let comment = 0; comment < 100; comment += 1)
      passed += tap.push(Buffer.from(`: ${'x'.repeat(1024)}\n\n`)).length;
    expect(passed).toBeGreaterThan(60 * 1024);
    expect(tap.hasContent).toBe(false);
  });

  it.each([
    ['spaces as Python writes them', 'data: {"choices": [{"delta": {"content": "x"}}]}\n\n'],
    ['a completion', 'data: {"choices":[{"text":"x"}]}\n\n'],
    ['reasoning', 'data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n\n'],
    ['a tool call', 'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\n\n'],
    ['an end without text', LAST],
    ['another API', 'event: response.created\ndata: {"type":"response.created"}\n\n'],
    ['an error', 'data: {"error":{"message":"no"}}\n\n'],
    ['no JSON', 'data: hello\n\n'],
    ['the end', DONE],
    ['carriage returns', 'data: {"choices":[{"delta":{"content":"x"}}]}\r\n\r\n'],
  ])('counts as content: %s', (_, event) => {
    const tap = createStreamTap({ stripUsage: true });
    expect(tap.push(Buffer.from(event)).toString()).toBe(event);
    expect(tap.hasContent).toBe(true);
  });

  it.each([
    [
      '{"choices":[{"delta":{"content":"a"}}],"usage":null}',
      '{"choices":[{"delta":{"content":"a"}}]}',
    ],
    ['{"usage": null, "choices":[{"text":"a"}]}', '{ "choices":[{"text":"a"}]}'],
    [
      '{"id":"c" , "usage" : {"prompt_tokens":1} ,"choices":[{"text":"a"}]}',
      '{"id":"c"  ,"choices":[{"text":"a"}]}',
    ],
    [
      '{"choices":[{"delta":{"content":"say \\"usage\\":null, twice"}}],"n":1e400,"usage":null}',
      '{"choices":[{"delta":{"content":"say \\"usage\\":null, twice"}}],"n":1e400}',
    ],
    [
      '{"choices":[{"delta":{"usage":null,"content":"a"}}]}',
      '{"choices":[{"delta":{"usage":null,"content":"a"}}]}',
    ],
  ])('cuts only the field out of %s', (event, want) => {
    expect(pass(`data: ${event}\n\n`, { stripUsage: true })).toBe(`data: ${want}\n\n`);
    expect(pass(`data: ${event}\n\n`, { stripUsage: false })).toBe(`data: ${event}\n\n`);
  });

  it('learns the usage', () => {
    const tap = createStreamTap({ stripUsage: true });
    tap.push(Buffer.from(stream));
    expect(tap.usage).toEqual({ promptTokens: 5, cachedTokens: 3, outputTokens: 2 });
  });

  it.each([
    ['carriage returns and line feeds', '\r\n'],
    ['carriage returns', '\r'],
  ])('takes it out of lines that end in %s, however they are cut', (_, end) => {
    const lines = (text: string): string => text.replaceAll('\n', end);
    for (const size of [1, 2, 3, 5, 7, 50, 10_000]) {
      const tap = createStreamTap({ stripUsage: true });
      const bytes = Buffer.from(lines(stream));
      const out: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += size)
        out.push(tap.push(bytes.subarray(at, at + size)));
      out.push(tap.end());
      // A line feed that comes later than its carriage return is an empty line more.
      const passed = Buffer.concat(out)
        .toString()
        .replaceAll(/(?:\r\n|\n|\r)+/g, '\n\n');
      expect(passed).toBe(`: hello\n\n${ROLE}${ONE}${LAST}${DONE}`);
      expect(tap.usage).toEqual({ promptTokens: 5, cachedTokens: 3, outputTokens: 2 });
      expect(tap.events).toBe(2);
    }
  });

  it.each([1, 13, 10_000])(
    'takes it out where the last blank line is missing, pieces of %i',
    (size) => {
      for (const cut of [1, 2]) {
        const text = `${ROLE}${ONE}${USAGE}`.slice(0, -cut);
        expect(pass(text, { stripUsage: true, size })).toBe(`${ROLE}${ONE}`);
        expect(pass(text, { stripUsage: false, size })).toBe(text);
      }
    },
  );

  it('learns it there, too', () => {
    const tap = createStreamTap({ stripUsage: true });
    tap.push(Buffer.from(`${ONE}${USAGE.trimEnd()}`));
    tap.end();
    expect(tap.usage).toEqual({ promptTokens: 5, cachedTokens: 3, outputTokens: 2 });
  });

  it('begins with a byte order mark and is read all the same', () => {
    expect(pass(`\ufeff${ROLE}`, { stripUsage: true })).toBe(`\ufeff${ROLE}`);
    const tap = createStreamTap({ stripUsage: true });
    expect(tap.push(Buffer.from(`\ufeff${ROLE}`))).toHaveLength(0);
    expect(tap.push(Buffer.from(`${ONE}${USAGE}`)).toString()).toBe(`\ufeff${ROLE}${ONE}`);
  });

  it('of the Responses API is in its last event, which passes', () => {
    const usage = {
      input_tokens: 30,
      input_tokens_details: { cached_tokens: 10 },
      output_tokens: 4,
    };
    const event = (document: { type: string }): string =>
      `event: ${document.type}\ndata: ${JSON.stringify(document)}\n\n`;
    const text = [
      event({ type: 'response.created', response: { id: 'r', usage: null } } as never),
      event({ type: 'response.output_text.delta', delta: 'a' } as never),
      event({ type: 'response.completed', response: { id: 'r', usage } } as never),
    ].join('');
    const tap = createStreamTap({ stripUsage: true });
    expect(tap.push(Buffer.from(text)).toString()).toBe(text);
    expect(tap.usage).toEqual({ promptTokens: 30, cachedTokens: 10, outputTokens: 4 });
  });

  it('of a long event in small pieces is passed and learned', () => {
    const padding = 'x'.repeat(900_000);
    const long = `data: {"choices":[{"text":"${padding}"}],"usage":{"prompt_tokens":7}}\n\n`;
    expect(pass(`${ONE}${long}`, { stripUsage: false, size: 64 })).toBe(`${ONE}${long}`);
    // However long the event, a piece costs no more.
    const { length } = long;
    expect(bytesTouched(() => pass(ONE + long, { stripUsage: false, size: 64 }))).toBeLessThan(
      10 * length,
    );
  });

  it('forwards an event without end unread', () => {
    const tap = createStreamTap({ stripUsage: true });
    const long = Buffer.from(`data: ${'x'.repeat(1024 * 1024)}`);
    expect(tap.push(long)).toHaveLength(long.length);
  });
});

describe('the events of a stream', () => {
  it('are counted from the first content on, without the end and the usage', () => {
    const stream = `: hello\n\n${ROLE}${ONE}${ONE}${USAGE}${DONE}`;
    for (const size of [1, 7, 10_000]) {
      const tap = createStreamTap({ stripUsage: true });
      const bytes = Buffer.from(stream);
      for (let at = 0; at < bytes.length; at += size) tap.push(bytes.subarray(at, at + size));
      expect(tap.events).toBe(2);
    }
  });
});

describe('the usage of a whole answer', () => {
  it.each([
    ['{"usage":{"prompt_tokens":5,"completion_tokens":-1}}', [5, 0, 0]],
    ['{"usage" : {"prompt_tokens":5,"completion_tokens":2,"x":{"y":"}"}} }', [5, 2, 0]],
    ['{"usage":{"input_tokens":3,"output_tokens":4}}', [3, 4, 0]],
    ['{"usage":{"prompt_tokens":1e999,"completion_tokens":"7"}}', [0, 0, 0]],
    [
      '{"a":{"usage":{"prompt_tokens":5}},"content":"\\"usage\\":{\\"prompt_tokens\\":9}"}',
      [5, 0, 0],
    ],
    ['{"usage":{"prompt_tokens":5},"content":"usage"}', [5, 0, 0]],
  ])('%s', (text, [promptTokens, outputTokens, cachedTokens]) => {
    expect(usageOfAnswer(Buffer.from(text))).toEqual({ promptTokens, outputTokens, cachedTokens });
  });

  it.each([
    'audio',
    '{"usage":null}',
    '{"usage":{"prompt_tokens":5',
    `{"usage":{"x":"${'y'.repeat(5000)}"}}`,
  ])('is not known of %j', (text) => {
    expect(usageOfAnswer(Buffer.from(text))).toBeNull();
  });

  it('is cut to what the model can have taken', () => {
    const usage = { promptTokens: 1e15, cachedTokens: 1e14, outputTokens: 3 };
    expect(withinBounds(usage, 4096)).toEqual({
      promptTokens: 4096,
      cachedTokens: 4096,
      outputTokens: 3,
    });
  });
});
