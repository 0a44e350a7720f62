import { describe, expect, it } from 'vitest';
import { redact } from '../src/redact.js';
import { systemdUnit } from '../src/systemd.js';

describe('redact', () => {
  it.each([
    [
      { apiKey: 'abc', name: 'a' },
      { apiKey: '[redacted]', name: 'a' },
    ],
    [{ env: { HF_TOKEN: 'abc' } }, { env: { HF_TOKEN: '[redacted]' } }],
    ['authorization: Bearer abc.def', 'authorization: Bearer [redacted]'],
    [['--api-key sk-12345678'], ['--api-key [redacted]']],
    ['hf_abcdefghij is a key', '[redacted] is a key'],
    [
      { generationTokensTotal: 5, maxTokens: 7 },
      { generationTokensTotal: 5, maxTokens: 7 },
    ],
    [
      { password: null, port: 80 },
      { password: null, port: 80 },
    ],
  ])('%j', (value, expected) => {
    expect(redact(value)).toEqual(expected);
  });
});

describe('the unit', () => {
  it('quotes what systemd would split or expand', () => {
    const unit = systemdUnit(['node', '/opt/a b.mjs', '$HOME', '50%']);
    expect(unit).toContain('ExecStart=node "/opt/a b.mjs" "$$HOME" 50%%\n');
    expect(unit).toContain('WatchdogSec=30s');
  });
});
