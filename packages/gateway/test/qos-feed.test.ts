/** What qos is told of models and endpoints. */
import { ratio } from '@aim-gpu/core';
import { createManualClock } from '@aim-gpu/core/testing';
import { createQos } from '@aim-gpu/qos';
import { describe, expect, it } from 'vitest';
import { feedDirectory } from '../src/qos-feed.js';
import { aServedModel, createDirectory } from './support/gateway-bench.js';

const engine = { address: { host: '127.0.0.1', port: 1 } };
const slo = { ttftMs: 250, tpotMs: null, e2eMs: null, objective: ratio(0.9) };
const none = { ttftMs: null, tpotMs: null, e2eMs: null, objective: ratio(0.9) };

describe('feedDirectory', () => {
  it.each([
    ['its own targets', slo, slo],
    ['its band’s when all are null', none, { ttftMs: 2000, tpotMs: 100 }],
    ['its band’s when it has none', undefined, { ttftMs: 2000, tpotMs: 100 }],
  ])('a model is judged by %s', async (_, given, want) => {
    const qos = createQos({ clock: createManualClock() });
    const model = { ...aServedModel('chat'), ...(given === undefined ? {} : { slo: given }) };
    const directory = createDirectory([model]);
    feedDirectory(qos, directory);
    directory.set('chat', [engine]);
    const admitted = await qos.admit({
      tenant: 't',
      model: 'chat',
      band: 'standard',
      promptTokens: 1,
    });
    if (!admitted.ok) throw new Error(admitted.message);
    admitted.permit.firstByte();
    admitted.permit.done();
    const bands = qos.report()[0]?.bands ?? [];
    expect(bands.find(({ band }) => band === 'standard')?.slo?.targets).toMatchObject(want);
    qos.close();
  });

  it('follows the directory until it is told to stop', () => {
    const qos = createQos({ clock: createManualClock() });
    const models = [aServedModel('chat'), aServedModel('small')];
    const directory = createDirectory(models);
    const stop = feedDirectory(qos, directory);
    directory.set('chat', [engine]);
    expect(qos.report().map(({ model, endpoints }) => [model, endpoints.length])).toEqual([
      ['chat', 1],
      ['small', 0],
    ]);
    directory.set('chat', [engine], 'draining');
    expect(qos.report()[0]?.endpoints[0]?.ready).toBe(false);
    models.pop();
    directory.set('chat', []);
    expect(qos.report().map(({ model, endpoints }) => [model, endpoints.length])).toEqual([
      ['chat', 0],
    ]);
    stop();
    directory.set('chat', [engine]);
    expect(qos.report()[0]?.endpoints).toHaveLength(0);
    qos.close();
  });
});
