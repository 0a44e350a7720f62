import { describe, expect, it } from 'vitest';
import { engineEnvironment, redactArgv } from '../../src/launcher/environment.js';

describe('the environment of an engine', () => {
  it('lets the command win over what is inherited', () => {
    expect(
      engineEnvironment(
        { PATH: '/bin', HIP_VISIBLE_DEVICES: '0' },
        { HIP_VISIBLE_DEVICES: '3' },
        [],
      ),
    ).toEqual({ PATH: '/bin', HIP_VISIBLE_DEVICES: '3' });
  });

  it('drops what nobody named', () => {
    expect(
      engineEnvironment(
        { AWS_SECRET_ACCESS_KEY: 'x', NODE_OPTIONS: '--inspect', UNSET: undefined, MINE: '1' },
        {},
        ['MINE'],
      ),
    ).toEqual({ MINE: '1' });
  });
});

describe('a command line for the log', () => {
  it.each([
    ['a value behind its flag', ['--api-key', 'sk'], ['--api-key', '***']],
    ['a value in its flag', ['--hf-token=abc'], ['--hf-token=***']],
    [
      'counts of tokens are no secret',
      ['--max-num-batched-tokens', '8'],
      ['--max-num-batched-tokens', '8'],
    ],
    ['a tokenizer is no secret', ['--tokenizer=x'], ['--tokenizer=x']],
    [
      'a bare flag hides no other flag',
      ['--use-token', '--port', '1'],
      ['--use-token', '--port', '1'],
    ],
    ['plain arguments', ['serve', 'key'], ['serve', 'key']],
  ])('%s', (_, argv, expected) => {
    expect(redactArgv(argv)).toEqual(expected);
  });
});
