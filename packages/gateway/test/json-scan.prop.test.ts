/** The scanner and the cut agree with JSON.parse on whatever JSON there is. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { withoutField } from '../src/json-field.js';
import { scanJsonObject } from '../src/json-scan.js';

const OBJECT = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 }));
const SPACED = fc.tuple(OBJECT, fc.constantFrom(undefined, 1, 2, '\t'));

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
  it('finds every value of every object where it stands', () => {
    fc.assert(
      fc.property(SPACED, ([object, space]) => {
        const bytes = Buffer.from(JSON.stringify(object, null, space));
        const scan = scanJsonObject(bytes, { maxDepth: 64 });
        if (!scan.ok) throw new Error(scan.message);
        expect([...scan.fields.keys()].sort()).toEqual(Object.keys(object).sort());
        for (const [name, { start, end }] of scan.fields)
          expect(JSON.parse(bytes.toString('utf8', start, end))).toEqual(
            JSON.parse(JSON.stringify(object[name])),
          );
      }),
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
        const scan = scanJsonObject(Buffer.from(text), { maxDepth: 64 });
        const value = parsed(text);
        if (isObject(value)) expect(scan.ok).toBe(true);
        // Escapes are the engine's to judge.
        else if (!text.includes('\\')) expect(scan.ok).toBe(false);
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
  ])('says what is wrong: %s', (_, bytes, message) => {
    expect(scanJsonObject(bytes, { maxDepth: 3 })).toEqual({ ok: false, message });
  });

  it('counts text, numbers and embedded files apart', () => {
    const image = `data:image/png;base64,${'A'.repeat(100)}`;
    const body = { prompt: [1, 2, 3], text: 'four', image };
    expect(scanJsonObject(Buffer.from(JSON.stringify(body)), { maxDepth: 9 })).toMatchObject({
      textBytes: 4,
      numbers: 3,
      files: 1,
    });
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
