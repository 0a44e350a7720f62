import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { expect, it } from 'vitest';

it('keeps batch on the last card and everything but guardrails off the first', () => {
  const output = execFileSync(
    process.execPath,
    ['--import', 'tsx', '--conditions=@aim-gpu/source', 'src/main.ts'],
    { cwd: path.resolve(import.meta.dirname, '..'), encoding: 'utf8' },
  );
  expect(output).toContain('nightly-0 on card 2');
  expect(output).toMatch(/chat-0 on card [12]/);
  expect(output).toMatch(/guard-0 on card \d/);
});
