/**
 * Predicts the engines of one card together: everybody's slowdown depends on everybody's busy share, which depends on
 * the slowdown. Owns that fixed point; one engine is predict.ts.
 */
import type { CoTenantActivity } from '@aim-gpu/core';
import { meanCoTenantSlowdown } from './co-tenants.js';
import { loadMeans, type PredictOptions, predict } from './predict.js';
import type { NoPrediction, Prediction } from './prediction.js';
import { invalidInput } from './validation.js';

/** One engine of a card. */
export interface CardMember extends Omit<PredictOptions, 'coTenants'> {
  /** How the caller tells the members apart. */
  readonly id: string;
  /** Indices of the card's partitions that it runs on; more than one when tensor-parallel. */
  readonly partitions: readonly number[];
}

/** A member's prediction beside its neighbours and without them. */
export interface MemberPrediction {
  readonly id: string;
  /** With everybody's declared load. */
  readonly together: Prediction | NoPrediction;
  /** On the same share of the same partition with its neighbours idle. */
  readonly alone: Prediction | NoPrediction;
  /** Busy shares of the others as this member meets them. */
  readonly activity: CoTenantActivity;
}

const ROUNDS = 60;
/** Busy shares closer than this between rounds count as settled. */
const SETTLED = 1e-4;

function activityOf(
  member: CardMember,
  members: readonly CardMember[],
  busy: ReadonlyMap<string, number>,
): CoTenantActivity {
  const own = new Set(member.partitions);
  const samePartition: number[] = [];
  const others = new Map<number, number>();
  for (const other of members) {
    if (other.id === member.id) continue;
    const share = busy.get(other.id) ?? 0;
    if (other.partitions.some((partition) => own.has(partition))) {
      samePartition.push(share);
      continue;
    }
    for (const partition of other.partitions) {
      others.set(partition, Math.max(others.get(partition) ?? 0, share));
    }
  }
  return { samePartition, otherPartitions: [...others.values()] };
}

/**
 * Predicts every engine of a card at everybody's loads, beside its prediction alone. A member whose load is above
 * what it can serve in that company counts as always busy and has `together.ok === false`. Throws
 * `ERR_PREDICT_INVALID` for duplicate ids, members without partitions, and impossible numbers.
 */
export function predictTogether(members: readonly CardMember[]): readonly MemberPrediction[] {
  const ids = new Set(members.map((member) => member.id));
  if (ids.size !== members.length) throw invalidInput('members', members.length, 'distinct ids');
  for (const member of members) {
    if (member.partitions.length === 0) throw invalidInput('partitions', 0, 'at least one index');
  }
  const busy = new Map<string, number>();
  for (const member of members) busy.set(member.id, 0);
  for (let round = 0; round < ROUNDS; round += 1) {
    let moved = 0;
    const next = new Map<string, number>();
    for (const member of members) {
      const slowdown = meanCoTenantSlowdown({
        activity: activityOf(member, members, busy),
        memory: member.speed.layout.memory,
        ...(member.assumptions === undefined ? {} : { assumptions: member.assumptions }),
      });
      const means = loadMeans(member, slowdown);
      const was = busy.get(member.id) ?? 0;
      const now = 'ok' in means ? 1 : means.busy;
      next.set(member.id, now);
      moved = Math.max(moved, Math.abs(now - was));
    }
    for (const [id, value] of next) busy.set(id, value);
    if (moved < SETTLED) break;
  }
  return members.map((member) => {
    const activity = activityOf(member, members, busy);
    return {
      id: member.id,
      together: predict({ ...member, coTenants: activity }),
      alone: predict(member),
      activity,
    };
  });
}
