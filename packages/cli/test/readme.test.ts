import path from 'node:path';
import { expect, test } from 'vitest';
import { runReadmeExample } from '../../../tools/readme-example.mjs';

test('the example of the README runs and prints what the README says', async () => {
  const run = await runReadmeExample(path.resolve(import.meta.dirname, '..'));
  expect(run.lines).toEqual(run.expectedLines);
  expect(run.exitCode).toBe(0);
});
