import { createRng } from '@aim-gpu/core';
import { expect, test } from 'vitest';
import {
  type CardMember,
  coTenantSlowdown,
  createEngineSimulation,
  createStepModel,
  type EngineSequence,
  predictTogether,
} from '../src/index.js';
import { aPartition, aStep } from './models.js';

const REPORT_MS = 100;

interface Tenant {
  readonly engine: ReturnType<typeof createEngineSimulation>;
  readonly arrivals: number[];
  readonly firsts: Map<EngineSequence, number>;
  readonly paces: number[];
  /** End of the step under way. */
  freeMs: number;
  stepping: boolean;
  reported: number;
  busyAtReportMs: number;
  sent: number;
}

/**
 * Runs engines side by side in simulated time. Each says every 100 ms how busy it was, and takes the others' latest
 * word at the start of each of its steps, as simulated engine processes do over their shared device.
 */
function runTogether(
  members: readonly CardMember[],
  samePartition: boolean,
  seconds: number,
): readonly { tpotMs: number; busy: number }[] {
  const rng = createRng(11);
  const tenants = members.map((member): Tenant => {
    const model = createStepModel({ step: member.step, speed: member.speed });
    const { arrivals } = member.traffic;
    if (arrivals.kind !== 'open') throw new Error('open loops only');
    const times: number[] = [];
    for (let at = 0; at < seconds * 1000; ) {
      at += (-Math.log(1 - rng.next()) * 1000) / arrivals.requestsPerSecond;
      times.push(at + model.frontEndMs);
    }
    return {
      engine: createEngineSimulation({
        model,
        kvBlocks: 10_000,
        maxNumSeqs: 64,
        maxNumBatchedTokens: 8192,
      }),
      arrivals: times,
      firsts: new Map(),
      paces: [],
      freeMs: 0,
      stepping: false,
      reported: 0,
      busyAtReportMs: 0,
      sent: 0,
    };
  });
  let reportMs = REPORT_MS;
  for (;;) {
    const tenant = tenants.reduce((soonest, other) =>
      other.freeMs < soonest.freeMs ? other : soonest,
    );
    const now = tenant.freeMs;
    if (now > seconds * 1000) break;
    while (reportMs <= now) {
      for (const other of tenants) {
        // Of a step under way only what has passed counts.
        const busyMs =
          other.engine.counters().busyMs - (other.stepping ? other.freeMs - reportMs : 0);
        other.reported = Math.min(1, (busyMs - other.busyAtReportMs) / REPORT_MS);
        other.busyAtReportMs = busyMs;
      }
      reportMs += REPORT_MS;
    }
    const member = members[tenants.indexOf(tenant)] as CardMember;
    while ((tenant.arrivals[tenant.sent] ?? Number.POSITIVE_INFINITY) <= now) {
      tenant.sent += 1;
      tenant.engine.enqueue({
        id: String(tenant.sent),
        promptTokens: member.traffic.promptTokens,
        outputTokens: member.traffic.outputTokens,
      });
    }
    const others = tenants.filter((other) => other !== tenant).map((other) => other.reported);
    const step = tenant.engine.step(
      coTenantSlowdown({
        activity: samePartition
          ? { samePartition: others, otherPartitions: [] }
          : { samePartition: [], otherPartitions: others },
        memory: member.speed.layout.memory,
      }),
    );
    tenant.stepping = step.kind !== 'idle';
    if (step.kind === 'idle') {
      tenant.freeMs = tenant.arrivals[tenant.sent] ?? Number.POSITIVE_INFINITY;
      continue;
    }
    tenant.freeMs += step.durationMs;
    for (const sequence of step.first) tenant.firsts.set(sequence, tenant.freeMs);
    for (const sequence of step.finished)
      tenant.paces.push(
        (tenant.freeMs - (tenant.firsts.get(sequence) ?? 0)) / (sequence.generatedTokens - 1),
      );
  }
  return tenants.map((tenant) => ({
    tpotMs: tenant.paces.reduce((sum, pace) => sum + pace, 0) / tenant.paces.length,
    busy: tenant.engine.counters().busyMs / (seconds * 1000),
  }));
}

function aMember(id: string, partition: number, requestsPerSecond: number): CardMember {
  return {
    id,
    partitions: [partition],
    step: aStep('Llama-3-8B'),
    speed: aPartition('DPX', 'NPS1'),
    traffic: {
      promptTokens: 600,
      outputTokens: 150,
      arrivals: { kind: 'open', requestsPerSecond },
    },
    kvCapacityTokens: 159_984,
    maxNumSeqs: 64,
  };
}

test.each([
  ['alone', [aMember('a', 0, 0.8)]],
  ['with a light engine on the partition', [aMember('a', 0, 0.8), aMember('b', 0, 0.1)]],
  ['with an equal one on the partition', [aMember('a', 0, 0.5), aMember('b', 0, 0.5)]],
  ['with a busy one on the partition', [aMember('a', 0, 0.3), aMember('b', 0, 2)]],
  ['three on the partition', [aMember('a', 0, 0.2), aMember('b', 0, 0.2), aMember('c', 0, 0.4)]],
  ['beside a busy one on another partition', [aMember('a', 0, 0.8), aMember('b', 1, 3)]],
] as const)(
  'engines that tell each other how busy they are run as predicted: %s',
  (_name, members) => {
    const samePartition = members.every((member) => member.partitions[0] === 0);
    const measured = runTogether(members, samePartition, 6000);
    const predicted = predictTogether(members);
    for (const [index, { tpotMs, busy }] of measured.entries()) {
      const together = predicted[index]?.together;
      if (together?.ok !== true) throw new Error('refused');
      expect(Math.abs(together.tpotMs.mean / tpotMs - 1)).toBeLessThan(0.06);
      expect(Math.abs(together.busy - busy)).toBeLessThan(0.06);
    }
  },
);
