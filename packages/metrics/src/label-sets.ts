/**
 * How many different label sets a metric has, and what becomes of those beyond the limit. Owns the folding into
 * "other", so that a caller with endless tenants or models cannot fill the memory; it knows no metric library.
 */
import type { MetricLabels } from '@aim-gpu/core';

/** Stands for every value that came after the limit was reached. */
const OTHER = 'other';

/** Labels whose values come from outside, in the order in which they are given up. */
const UNBOUNDED = ['tenant', 'model', 'workload', 'instance'] as const;

/** A text that two label sets share when they are the same, whatever their order. */
export function keyOfLabels(labels: MetricLabels): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Remembers the label sets of one metric. */
export interface LabelSets {
  /** The labels to record under: as given while there is room, else with the tenant, then more, as `other`. */
  admit(labels: MetricLabels): MetricLabels;
  /** Gives a set's room back. */
  release(labels: MetricLabels): void;
}

/** Makes the memory for one metric that keeps at most `limit` label sets as they come. */
export function createLabelSets(limit: number): LabelSets {
  const known = new Set<string>();
  const folded = new Set<string>();
  const admit = (labels: MetricLabels): MetricLabels => {
    const key = keyOfLabels(labels);
    if (known.has(key)) return labels;
    if (known.size < limit) {
      known.add(key);
      return labels;
    }
    const withoutTenant = 'tenant' in labels ? { ...labels, tenant: OTHER } : labels;
    const tenantKey = keyOfLabels(withoutTenant);
    if (known.has(tenantKey) || folded.has(tenantKey)) return withoutTenant;
    // Folded tenants get as much room again; past that only labels bounded by the machine keep their values.
    if (withoutTenant !== labels && folded.size < limit) {
      folded.add(tenantKey);
      return withoutTenant;
    }
    const rest = UNBOUNDED.filter((label) => label in labels).map(
      (label) => [label, OTHER] as const,
    );
    return { ...labels, ...Object.fromEntries(rest) };
  };
  return { admit, release: (labels) => void known.delete(keyOfLabels(labels)) };
}
