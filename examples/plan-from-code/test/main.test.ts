import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const example = path.resolve(import.meta.dirname, '..');

describe('plan-from-code', () => {
  const output = execFileSync(
    process.execPath,
    ['--import', 'tsx', '--conditions=@aim-gpu/source', 'src/main.ts'],
    {
      cwd: example,
      encoding: 'utf8',
    },
  );

  it('places every instance, the two that must be apart on different cards', () => {
    const cards = new Map(
      [...output.matchAll(/^(\S+) on (\S+)\/\d+,/gm)].map(([, instance, card]) => [instance, card]),
    );
    expect([...cards.keys()].toSorted()).toEqual(['bulk-0', 'chat-0', 'chat-1', 'code-0']);
    expect(cards.get('bulk-0')).not.toBe(cards.get('code-0'));
    expect(output).not.toContain('has no place');
  });

  it('gives a reason for each choice', () => {
    expect(output).toContain('exclusive: asked for a partition of its own');
  });
});
