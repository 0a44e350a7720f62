import { missingKeys, parseFleet } from '@aim-gpu/fleet';
import { expect, test } from 'vitest';
import { GOOD_FILE } from './broken-files.js';

test('missingKeys lists the variables an environment lacks, and never a value', () => {
  const { fleet } = parseFleet(
    `${GOOD_FILE}tenants:
  - { name: a, keys: [{ env: A_KEY }, { env: SECOND_KEY }] }
  - { name: b, keys: [{ env: EMPTY_KEY }, { file: ./b.key }] }
`,
    { file: 'fleet.yaml' },
  );
  expect(missingKeys(fleet, { A_KEY: 'sk-1', EMPTY_KEY: '' })).toEqual([
    { tenant: 'a', name: 'SECOND_KEY' },
    { tenant: 'b', name: 'EMPTY_KEY' },
  ]);
  expect(missingKeys(fleet, { A_KEY: 'sk-1', SECOND_KEY: 'sk-2', EMPTY_KEY: 'sk-3' })).toEqual([]);
});
