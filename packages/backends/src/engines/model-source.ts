/**
 * What an engine is told to load. Pure.
 */
import path from 'node:path';
import type { Workload } from '@aim-gpu/core';

/** A workload's source as an engine takes it: a directory for a path of a config.json, else as it is. */
export function toModelArgument(workload: Workload): string {
  const { source } = workload;
  return path.isAbsolute(source) && source.endsWith('.json') ? path.dirname(source) : source;
}

/** Names that clients may use for the model itself, its own first. */
export function servedNames(workload: Workload): readonly string[] {
  return [workload.name, ...workload.aliases];
}
