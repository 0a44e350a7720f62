import { AimError, exitCodeOf } from '@aim-gpu/core';
import { type FleetIssue, parseFleet } from '@aim-gpu/fleet';
import { describe, expect, it } from 'vitest';
import { BROKEN_FILES, GOOD_FILE } from './broken-files.js';

/** What parsing throws; fails when it does not. */
export function refusal(input: string | Uint8Array): AimError {
  try {
    parseFleet(input, { file: 'fleets/fleet.yaml' });
  } catch (error) {
    if (AimError.is(error)) return error;
    throw error;
  }
  throw new Error('the file was accepted');
}

function issuesOf(error: AimError): readonly FleetIssue[] {
  return error.details['issues'] as readonly FleetIssue[];
}

describe('a broken file', () => {
  it('is one that was good before', () => {
    expect(parseFleet(GOOD_FILE, { file: 'fleet.yaml' }).warnings).toEqual([]);
    expect(BROKEN_FILES.length).toBeGreaterThan(100);
  });

  it.each(BROKEN_FILES)(
    '$name is told with its place, line, caret and fix',
    ({ text, at, line, caret, says, hint }) => {
      const error = refusal(text);
      expect({
        code: error.code,
        exit: exitCodeOf(error.kind),
        at: error.at,
        excerpt: error.excerpt?.split('\n'),
        message: error.message,
        hint: error.hint,
      }).toEqual({
        code: 'ERR_CONFIG_INVALID',
        exit: 2,
        at: { file: 'fleets/fleet.yaml', line: at[0], column: at[1] },
        excerpt: [line, caret],
        message: says,
        hint,
      });
    },
  );

  it.each(BROKEN_FILES)('$name has its caret under the column it names', ({ text }) => {
    const error = refusal(text);
    expect(error.excerpt?.split('\n')[1]?.indexOf('^')).toBe((error.at?.column ?? 0) - 1);
  });

  it.each(BROKEN_FILES)('$name has details that survive JSON', ({ text }) => {
    const { details } = refusal(text);
    expect(JSON.parse(JSON.stringify(details))).toEqual(details);
    expect(details['issueCount']).toBe((details['issues'] as unknown[]).length);
  });
});

describe('several problems', () => {
  const text = GOOD_FILE.replace('MI300X', 'MI300Y').concat(
    '    band: gold\n    fallback: nobody\n    kv_cache_dtype: fp8\n',
    '  - { name: assistant, source: a/b }\n',
  );

  it('are told in file order whatever found them, the first in the message', () => {
    const error = refusal(text);
    expect(issuesOf(error).map(({ line, path }) => [line, path])).toEqual([
      [6, 'nodes[0].cards.product'],
      [10, 'models[0].band'],
      [11, 'models[0].fallback'],
      [12, 'models[0].kv_cache_dtype'],
      [13, 'models[1].name'],
    ]);
    expect(error.at?.line).toBe(6);
    expect(error.message).toMatch(/ \(and 4 more problems\)$/);
    expect(error.details).toMatchObject({
      path: 'nodes[0].cards.product',
      nearest: 'MI300X',
      issueCount: 5,
    });
  });

  it('each carry line, allowed words, nearest and one fix', () => {
    expect(issuesOf(refusal(text))[3]).toEqual({
      path: 'models[0].kv_cache_dtype',
      message: expect.stringContaining(
        'models[0] has no key "kv_cache_dtype"; allowed here: name, ',
      ),
      hint: 'write "kvCacheDtype" instead of "kv_cache_dtype"',
      allowed: expect.arrayContaining(['kvCacheDtype', 'band']),
      nearest: 'kvCacheDtype',
      line: 12,
      column: 5,
      excerpt: '    kv_cache_dtype: fp8\n    ^^^^^^^^^^^^^^',
    });
  });

  it('are counted beyond the fifty that are listed', () => {
    const { details } = refusal(
      GOOD_FILE + Array.from({ length: 80 }, (_, index) => `    key${index}: 1\n`).join(''),
    );
    expect(details['issueCount']).toBe(80);
    expect(details['issues']).toHaveLength(50);
  });
});

describe('bytes that are no text', () => {
  const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

  it('are read as UTF-8, with or without a byte order mark', () => {
    const plain = parseFleet(utf8(GOOD_FILE), { file: 'f.yaml' });
    expect(
      parseFleet(new Uint8Array([0xef, 0xbb, 0xbf, ...utf8(GOOD_FILE)]), { file: 'f.yaml' }),
    ).toEqual(plain);
  });

  it('are refused at the first byte that is not UTF-8', () => {
    const bytes = new Uint8Array([...utf8('apiVersion: ü\nkind: é'), 0xe9, ...utf8(' Fleet\n')]);
    const error = refusal(bytes);
    expect([error.code, error.at?.line, error.at?.column]).toEqual(['ERR_CONFIG_INVALID', 2, 8]);
    expect(error.excerpt).toBe('kind: é\uFFFD Fleet\n       ^');
    expect(error.hint).toBe('save the file as UTF-8');
  });

  it.each([
    ['little-endian', [0xff, 0xfe, 0x61, 0x00]],
    ['big-endian', [0xfe, 0xff, 0x00, 0x61]],
  ])('are called UTF-16 when they are, %s', (_, bytes) => {
    expect(refusal(new Uint8Array(bytes)).message).toBe('the file is UTF-16, not UTF-8');
  });

  it('are refused when cut off in the middle of a character', () => {
    expect(refusal(new Uint8Array([...utf8('kind: '), 0xc3])).at).toMatchObject({
      line: 1,
      column: 7,
    });
  });

  it('are refused beyond any sane size', () => {
    expect(refusal('#'.repeat(5 * 2 ** 20)).message).toMatch(/more than 4 MiB/);
  });
});

describe('hostile files', () => {
  it('with an alias bomb are refused at the alias that goes too far', () => {
    const levels = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
    const bomb = levels
      .map((name, index) => {
        const inner = index === 0 ? 'x' : `*${levels[index - 1]}`;
        return `${name}: &${name} [${Array.from({ length: 9 }, () => inner).join(', ')}]`;
      })
      .join('\n');
    const error = refusal(`${bomb}\n`);
    expect(error.message).toBe('the aliases of this file expand to more than 10000 values');
    expect(error.excerpt?.split('\n')[0]).toMatch(/^[d-e]: &/);
  });

  it.each(['[', '{a: ', '- ', '? '])('nested by 50000 %j are refused', (nest) => {
    expect(refusal(nest.repeat(50_000)).message).toBe('values are nested too deep here');
  });

  it('cannot drive the terminal through the excerpt', () => {
    const { excerpt } = refusal(`${GOOD_FILE}    band: "\u001b[2Jgold"\n`);
    expect(excerpt).toContain('"\uFFFD[2Jgold"');
    expect(excerpt).not.toContain('\u001b');
  });

  it('with a very long line show the part around the place', () => {
    const { excerpt = '' } = refusal(`${GOOD_FILE}    aliases: [${'x, '.repeat(2000)}{}]\n`);
    const [line = '', caret = ''] = excerpt.split('\n');
    expect(line.length).toBeLessThanOrEqual(160);
    expect(line.slice(caret.indexOf('^'), caret.indexOf('^') + 1)).toBe('x');
  });

  it('keep tabs under tabs', () => {
    expect(refusal(GOOD_FILE.replace('kind: Fleet', 'kind:\tflet')).excerpt).toBe(
      'kind:\tflet\n     \t^^^^',
    );
  });
});

describe('a key that stands in the file', () => {
  const secret = 'sk-live-0123456789abcdef';
  it.each([
    `tenants: [{ name: a, keys: [${secret}] }]`,
    `tenants: [{ name: a, keys: ${secret} }]`,
    `tenants: [{ name: a, keys: [{ ${secret}: x }] }]`,
    `tenants: [{ name: a, keys: [{ env: ${secret} }] }]`,
    `tenants: [{ name: a, keys: [{ value: ${secret} }], bands: [gold] }]`,
    `tenants: [{ name: a, keys: [[${secret}]] }]`,
    `tenants: [{ name: a, keys: [{ sha256: ${secret} }, { sha256: ${secret} }] }]`,
    `tenants:\n  - name: a\n    keys:\n      - ${secret}\n      - ${secret}`,
    `tenants: [{ name: a, keys: [${secret}] }`,
  ])('is never repeated: %s', (line) => {
    const error = refusal(`${GOOD_FILE}${line}\n`);
    const said = JSON.stringify([error.message, error.hint, error.excerpt, error.details]);
    expect(said).not.toContain(secret);
  });
});
