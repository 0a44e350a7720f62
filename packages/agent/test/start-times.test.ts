import { instanceId, workloadName } from '@aim-gpu/core';
import { createManualClock } from '@aim-gpu/core/testing';
import { expect, test } from 'vitest';
import { createStartTimes } from '../src/start-times.js';
import type { InstanceState } from '../src/status.js';

const CHAT = workloadName('chat');

test('the last start of a model says how long the next one takes, less what has passed', async () => {
  const clock = createManualClock();
  const times = createStartTimes({ clock });
  const enter = (state: InstanceState, replica = 0): void =>
    times.note({ instance: instanceId(CHAT, replica), workload: CHAT, state });
  enter('starting');
  await clock.advance(500);
  expect(times.expectedReadyMs(CHAT)).toBeNull();
  await clock.advance(9500);
  enter('ready');
  expect(times.expectedReadyMs(CHAT)).toBeNull();

  enter('restarting');
  await clock.advance(4000);
  expect(times.expectedReadyMs(CHAT)).toBe(6000);
  enter('starting', 1);
  expect(times.expectedReadyMs(CHAT)).toBe(6000);
  enter('failed');
  expect(times.expectedReadyMs(CHAT)).toBe(10_000);
  await clock.advance(60_000);
  expect(times.expectedReadyMs(CHAT)).toBe(1000);
  enter('stopping', 1);
  expect(times.expectedReadyMs(CHAT)).toBeNull();
  enter('ready', 2);
  enter('restarting', 2);
  expect(times.expectedReadyMs(CHAT)).toBe(10_000);
  expect(times.expectedReadyMs(workloadName('other'))).toBeNull();
});
