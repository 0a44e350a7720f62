import { describe, expect, it } from 'vitest';
import {
  cardId,
  hiveId,
  instanceId,
  nodeName,
  planId,
  tenantName,
  workloadName,
} from '../src/index.js';

describe('ids', () => {
  it.each([
    ['0000:0c:00.0', '0000:0c:00.0'],
    ['0000:0C:00.7', '0000:0c:00.0'],
    ['00010000:f5:1f.3', '00010000:f5:1f.0'],
  ])('make of %s the card %s', (text, card) => {
    expect(cardId(text)).toBe(card);
  });

  it.each(['', '0c:00.0', '0000:0c:00', '0000:0c:00.8', '0000:0c:00.0 ', 'card0'])(
    'refuse %j as a card',
    (text) => {
      expect(() => cardId(text)).toThrow(
        expect.objectContaining({ code: 'ERR_ID_INVALID', kind: 'invalid' }),
      );
    },
  );

  it('take names of letters, digits and a few signs', () => {
    expect(nodeName('node-0.rack_1')).toBe('node-0.rack_1');
    expect(tenantName('a')).toBe('a');
    expect(planId('9f86d081')).toBe('9f86d081');
    expect(hiveId('0x1234 any text')).toBe('0x1234 any text');
    expect(instanceId(workloadName('chat'), 3)).toBe('chat-3');
  });

  it.each(['', '-a', 'a-', 'a b', 'a/b', 'ä', `a${'b'.repeat(128)}`])(
    'refuse %j as a name',
    (name) => {
      for (const make of [nodeName, tenantName, workloadName, planId]) {
        expect(() => make(name)).toThrow(expect.objectContaining({ code: 'ERR_ID_INVALID' }));
      }
    },
  );
});
