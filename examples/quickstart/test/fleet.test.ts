import path from 'node:path';
import { readFleetFile } from '@aim-gpu/fleet';
import { describe, expect, it } from 'vitest';

describe('the quickstart fleet', () => {
  it('has five models, three of them with a partition of their own, one in each band', async () => {
    const { fleet, warnings } = await readFleetFile(
      path.resolve(import.meta.dirname, '../fleet.yaml'),
    );
    expect(warnings).toEqual([]);
    expect(fleet.models.filter((model) => model.placement.exclusive)).toHaveLength(3);
    expect(fleet.models.map((model) => model.band).toSorted()).toEqual([
      'batch',
      'best_effort',
      'critical',
      'interactive',
      'standard',
    ]);
  });
});
