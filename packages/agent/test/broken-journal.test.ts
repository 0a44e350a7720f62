// The journal cut off and damaged: at every 211th byte and at the end of every record here, at each byte in
// `npm run soak -- agent-journal-bytes`.
import { expect, test } from 'vitest';
import { breakJournal } from './support/broken-journal.js';

test('a journal that is cut anywhere is repaired, one that is damaged is refused with its place', {
  timeout: 60_000,
}, async () => {
  const run = await breakJournal({ stride: 211 });
  expect(run.records).toBeGreaterThan(12);
  expect(run.cuts.allAdopted).toBeGreaterThan(0);
  expect(run.cuts.someAnew).toBeGreaterThan(run.records);
  expect(run.flips.refused).toBeGreaterThan(run.records);
  expect(run.flips.torn).toBe(1);
  expect(run.desiredFlipsRefused).toBeGreaterThan(0);
});
