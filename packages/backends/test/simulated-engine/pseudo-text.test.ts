import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  answerText,
  blockKeysOf,
  chatTextOf,
  countChatTokens,
  countTokens,
  tokenText,
} from '../../src/simulated-engine/pseudo-text.js';

describe('tokens of a text', () => {
  it.each([
    ['', 1],
    ['a', 1],
    ['abcd', 1],
    ['abcde', 2],
    ['x'.repeat(400), 100],
  ])('%j', (text, tokens) => {
    expect(countTokens(text)).toBe(tokens);
  });

  it('adds 4 for each message and 3 for the answer', () => {
    expect(countChatTokens([{ text: 'abcd' }, { text: '' }])).toBe(3 + 4 + 1 + 4);
  });

  it('a prompt made for a length has it, and differs by its salt', () => {
    fc.assert(
      fc.property(fc.integer({ min: 40, max: 3000 }), fc.uuid(), (tokens, salt) => {
        const text = chatTextOf(tokens, salt);
        expect(countChatTokens([{ text }])).toBe(tokens);
        expect(text.startsWith(salt)).toBe(true);
      }),
    );
  });
});

describe('answers', () => {
  it('are the same for the same seed, of words, and differ between seeds', () => {
    expect(answerText(7, 50)).toBe(answerText(7, 50));
    expect(answerText(7, 50)).not.toBe(answerText(8, 50));
    expect(answerText(7, 50)).toMatch(/^[a-z]{3,5}( [a-z]{3,5}){49}$/);
    expect(new Set(answerText(7, 200).split(' ')).size).toBeGreaterThan(50);
  });

  it('are their tokens put together', () => {
    expect([0, 1, 2].map((index) => tokenText(3, index)).join('')).toBe(answerText(3, 3));
  });
});

describe('block keys', () => {
  const prefix = 'x'.repeat(64 * 3);
  it('are shared up to the block in which two prompts part, and no further', () => {
    const a = blockKeysOf(`${prefix}a${'z'.repeat(200)}`, 100, 16);
    const b = blockKeysOf(`${prefix}b${'z'.repeat(200)}`, 100, 16);
    expect(a).toHaveLength(6);
    expect(a.slice(0, 3)).toEqual(b.slice(0, 3));
    for (let block = 3; block < 6; block += 1) expect(a[block]).not.toBe(b[block]);
  });

  it('differ along a prompt that repeats itself', () => {
    expect(new Set(blockKeysOf('y'.repeat(6400), 1600, 16)).size).toBe(100);
  });
});
