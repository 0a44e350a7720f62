/** The scanner and the cut agree with JSON.parse on whatever JSON there is. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { fieldOf, withField, withoutField } from '../src/json-field.js';
import { type JsonKey, toJsonKeys } from '../src/json-key.js';
import { type JsonScan, scanJsonObject } from '../src/json-scan.js';

const OBJECT = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 }));
const SPACED = fc.tuple(OBJECT, fc.constantFrom(undefined, 1, 2, '\t'));

function scan(
  json: Buffer | string,
  options: {
    readonly names?: readonly string[];
    readonly prompts?: JsonKey['prompts'];
    readonly maxDepth?: number;
  } = {},
): JsonScan {
  const { names = [], prompts = 'none', maxDepth = 64 } = options;
  const keys = toJsonKeys(names.map((name) => ({ name, prompts })));
  return scanJsonObject(Buffer.from(json), { keys, maxDepth, bytesPerNumber: 10 });
}

/** A key as somebody may write it: any of its characters escaped. */
function escaped(name: string, which: number): string {
  const letters = [...name].map((letter, index) => {
    if (((which >> (index % 30)) & 1) === 0) return JSON.stringify(letter).slice(1, -1);
    return [...letter.split('')]
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join('');
  });
  return `"${letters.join('')}"`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

describe('scanJsonObject', () => {
  it('finds the wanted values of every object where they stand, the last of each name', () => {
    const name = fc.string({ unit: 'grapheme-ascii', maxLength: 12 });
    const member = fc.tuple(fc.oneof(name, fc.string()), fc.jsonValue({ maxDepth: 4 }), fc.nat());
    const object = fc.array(member, { maxLength: 12 });
    fc.assert(
      fc.property(
        object,
        fc.array(name),
        fc.constantFrom('', ' ', '\n\t'),
        (members, more, space) => {
          const wanted = [
            ...new Set(
              [...more, ...members.map(([key]) => key)].filter((key) => /^[ -~]*$/.test(key)),
            ),
          ];
          const text = members.map(
            ([key, value, which]) =>
              `${space}${escaped(key, which)}${space}:${space}${JSON.stringify(value)}${space}`,
          );
          const bytes = Buffer.from(`{${text.join(',')}}`);
          const found = scan(bytes, { names: wanted });
          if (!found.ok) throw new Error(found.message);
          const whole = new Map(members.map(([key, value]) => [key, JSON.stringify(value)]));
          for (const key of wanted) {
            const span = found.fields.get(key);
            const at =
              span === undefined ? undefined : bytes.toString('utf8', span.start, span.end);
            expect(at).toBe(whole.get(key));
          }
          expect(found.fields.size).toBe(wanted.filter((key) => whole.has(key)).length);
        },
      ),
    );
  });

  it('takes no text for an object that JSON.parse takes for none, but for what stands inside strings', () => {
    const damaged = fc
      .tuple(OBJECT, fc.nat(), fc.constantFrom('', '{', '}', '[', ']', ',', ':', '0', 'x', ' '))
      .map(([object, at, what]) => {
        const text = JSON.stringify(object);
        const cut = at % text.length;
        return text.slice(0, cut) + what + text.slice(cut + 1);
      });
    fc.assert(
      fc.property(damaged, (text) => {
        const { ok } = scan(text);
        const value = parsed(text);
        if (isObject(value)) expect(ok).toBe(true);
        // Escapes are the engine's to judge.
        else if (!text.includes('\\')) expect(ok).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ['not UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'the body is not valid UTF-8'],
    ['a list', Buffer.from('[]'), 'the body must be a JSON object'],
    ['nothing', Buffer.alloc(0), 'the body must be a JSON object'],
    ['an open string', Buffer.from('{"a":"b'), 'the body ends in the middle of its JSON'],
    ['a bad key', Buffer.from('{"a\\q":1}'), 'the body is not valid JSON at byte 1'],
    ['depth', Buffer.from('{"a":[[[1]]]}'), 'the body nests deeper than 3 levels'],
    ['a leading zero', Buffer.from('{"a":01}'), 'the body is not valid JSON at byte 5'],
    ['half a word', Buffer.from('{"a":tru}'), 'the body is not valid JSON at byte 5'],
    [
      'an exponent without digits',
      Buffer.from('{"a":1e+}'),
      'the body is not valid JSON at byte 5',
    ],
    ['a point without digits', Buffer.from('{"a":1.}'), 'the body is not valid JSON at byte 5'],
    ['a comma too many', Buffer.from('{"a":1,}'), 'the body is not valid JSON at byte 7'],
    ['no colon', Buffer.from('{"a" 1}'), 'the body is not valid JSON at byte 5'],
    ['an escape cut off', Buffer.from('{"a\\u00":1}'), 'the body is not valid JSON at byte 1'],
    ['another end', Buffer.from('{"a":[1}'), 'the body is not valid JSON at byte 7'],
    ['more behind it', Buffer.from('{}x'), 'the body is not valid JSON at byte 2'],
    ['its end missing', Buffer.from('{"a":[1'), 'the body ends in the middle of its JSON'],
  ])('says what is wrong: %s', (_, bytes, message) => {
    expect(scan(bytes, { maxDepth: 3 })).toEqual({ ok: false, message });
  });

  it('counts text, numbers and embedded files apart', () => {
    const image = `data:image/png;base64,${'A'.repeat(100)}`;
    const body = { prompt: [1, 2, 3], text: 'four', image };
    expect(scan(JSON.stringify(body))).toMatchObject({ textBytes: 4, numbers: 3, files: 1 });
  });

  it.each([
    ['a picture', `data:image/png;base64,${'A'.repeat(100)}`, 1],
    ['a recording', Buffer.alloc(30_000, 'abc\xff\x00').toString('base64'), 1],
    ['a short code', 'A'.repeat(4_000), 0],
    ['a text', 'Several words. '.repeat(1_000), 0],
    [
      'a text that begins like a recording',
      `${'A'.repeat(4_000)} ${'and so on '.repeat(1_000)}`,
      0,
    ],
    ['a text without blanks', '多い文字'.repeat(1_000), 0],
    ['a text of escapes', '\n'.repeat(4_000), 0],
  ])('takes %s for a file or for text', (_, text, files) => {
    const bytes = Buffer.byteLength(JSON.stringify(text)) - 2;
    expect(scan(JSON.stringify({ text }))).toMatchObject({
      files,
      textBytes: files === 1 ? 0 : bytes,
    });
  });

  it.each([
    ['one text', { p: 'four' }, [1, 4, 4]],
    ['texts', { p: ['a', 'four', '', 'bb'] }, [4, 4, 7]],
    ['the ids of one', { p: [1, 2, 3] }, [1, 30, 30]],
    ['ids of several', { p: [[1, 2], [3], []] }, [3, 20, 30]],
    ['objects', { p: [{ text: 'aaa', n: 1 }, { text: 'b' }] }, [2, 3, 4]],
    ['an empty list', { p: [] }, [1, 0, 0]],
    ['an object', { p: { a: ['x', 'yy'], b: [1] } }, [1, 13, 13]],
    ['a file', { p: [`data:image/png;base64,${'A'.repeat(100)}`, 'a'] }, [2, 1, 1]],
    ['somebody else’s list', { p: ['a'], x: ['long', 'longer', 'the longest'] }, [1, 1, 1]],
    ['a list further in', { p: ['a'], x: { p: ['b', 'c'] } }, [1, 1, 1]],
    ['none', {}, [1, 0, 0]],
  ])('tells prompts apart: %s', (_, body, [count, largestBytes, allBytes]) => {
    for (const text of [JSON.stringify(body), JSON.stringify(body, null, 2)])
      expect(scan(text, { names: ['p'], prompts: 'each' })).toMatchObject({
        prompts: { count, largestBytes, allBytes },
      });
  });

  it('takes a list of messages for one prompt where it was told so', () => {
    const body = { p: [{ content: 'aaa' }, { content: 'bb' }] };
    expect(scan(JSON.stringify(body), { names: ['p'], prompts: 'one' })).toMatchObject({
      prompts: { count: 1, largestBytes: 5, allBytes: 5 },
    });
  });

  it('keeps nothing of keys that nobody wants', () => {
    const keys = Array.from({ length: 4_000 }, (_, index) => `"${index.toString(36)}":0`).join(',');
    const found = scan(`{${keys},"x":{${keys},"model":2},"model":1}`, { names: ['model'] });
    if (!found.ok) throw new Error(found.message);
    expect([...found.fields.keys()]).toEqual(['model']);
  });

  it('makes no strings of numbers, texts and keys', () => {
    const made = vi.spyOn(Buffer.prototype, 'toString');
    const many = '15339,'.repeat(1_000);
    const text = `{"p":[${many}0],"\\u0070q":"a","x":{"y":[true,null,-1.5e3]}}`;
    const found = scan(text, { names: ['p'], prompts: 'each' });
    expect(found).toMatchObject({ ok: true, numbers: 1_002 });
    expect(made).not.toHaveBeenCalled();
    made.mockRestore();
  });

  it('does not go on through more fields than any request has', () => {
    const keys = '"a":0,'.repeat(4_097);
    expect(scan(`{${keys}"model":1}`)).toEqual({
      ok: false,
      message: 'the body has more than 4096 fields',
    });
    expect(scan(`{"x":{${keys}"b":1}}`).ok).toBe(true);
  });
});

describe('withoutField', () => {
  it('takes out the field and nothing else', () => {
    fc.assert(
      fc.property(SPACED, fc.jsonValue(), fc.nat(), ([object, space], value, at) => {
        const entries = Object.entries(object).filter(([name]) => name !== 'usage');
        const place = at % (entries.length + 1);
        const all = [...entries.slice(0, place), ['usage', value], ...entries.slice(place)];
        const json = Buffer.from(JSON.stringify(Object.fromEntries(all), null, space));
        expect(JSON.parse(withoutField(json, 'usage').toString())).toEqual(
          JSON.parse(JSON.stringify(Object.fromEntries(entries))),
        );
      }),
    );
  });

  it.each(['{"a":1}', '[1]', '{"\\u0075sage":1}', '{'])('leaves %s as it is', (text) => {
    const json = Buffer.from(text);
    expect(withoutField(json, 'usage')).toBe(json);
  });
});

describe('withField', () => {
  it('puts the field in, or its new value in place of the old one, and changes nothing else', () => {
    fc.assert(
      fc.property(SPACED, fc.jsonValue(), ([object, space], value) => {
        const json = Buffer.from(JSON.stringify(object, null, space));
        const changed = withField(json, 'on', JSON.stringify(value)).toString();
        expect(JSON.parse(changed)).toEqual(JSON.parse(JSON.stringify({ ...object, on: value })));
      }),
    );
  });

  it.each([
    ['{"a":12345678901234567890}', '{"on":true,"a":12345678901234567890}'],
    ['{"on":0,"a":1.0,"on" : null}', '{"on":0,"a":1.0,"on" : true}'],
    ['{ }', '{"on":true }'],
    ['"abc"', '"abc"'],
    ['[1]', '[1]'],
  ])('makes of %s', (text, want) => {
    expect(withField(Buffer.from(text), 'on', 'true').toString()).toBe(want);
  });

  it('is found again', () => {
    expect(fieldOf(Buffer.from('{"a":1, "on" : [2] }'), 'on')?.toString()).toBe('[2]');
    expect(fieldOf(Buffer.from('{"a":1}'), 'on')).toBeNull();
    expect(fieldOf(Buffer.from('[1]'), 'on')).toBeNull();
  });
});
