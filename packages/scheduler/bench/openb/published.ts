/** The published figures of FGD's simulator, to stand beside ours. */
import { readFileSync } from 'node:fs';
import type { PolicyName } from './policies.js';

const NAMES: Readonly<Partial<Record<PolicyName, string>>> = {
  fgd: '06-FGD',
  bestfit: '05-BestFit',
  random: '01-Random',
};

/** Published allocation at 100 % arrival in percent, mean of ten seeds; null where none is published. */
export function publishedAllocation(file: string, list: string, policy: PolicyName): number | null {
  const name = NAMES[policy];
  if (name === undefined) return null;
  const [head = '', ...lines] = readFileSync(file, 'utf8').trim().split('\n');
  const column = head.split(',').indexOf('alloc_pct_at_100');
  const line = lines.find((text) => text.startsWith(`openb_pod_list_${list},${name},`));
  return line === undefined ? null : Number(line.split(',')[column]);
}
