import {
  cardId,
  type Endpoint,
  instanceId,
  nodeName,
  type ServedModel,
  workloadName,
} from '@aim-gpu/core';
import { createManualClock } from '@aim-gpu/core/testing';
import { beforeEach, describe, expect, test } from 'vitest';
import { createEndpointDirectory, type WritableDirectory } from '../src/endpoint-directory.js';
import { hasSettled } from './support/time.js';

const CHAT = workloadName('chat');

function anEndpoint(overrides: Partial<Endpoint> = {}): Endpoint {
  return {
    instance: instanceId(CHAT, 0),
    workload: CHAT,
    address: { host: '127.0.0.1', port: 4711 },
    node: nodeName('node0'),
    card: cardId('0000:0c:00.0'),
    partition: 0,
    state: 'ready',
    maxNumSeqs: 16,
    kvCapacityTokens: 1000,
    ...overrides,
  };
}

const MODEL: ServedModel = {
  workload: CHAT,
  aliases: ['gpt'],
  adapters: [],
  band: 'standard',
  fallback: null,
  maxModelLen: 8192,
};

describe('the endpoint directory', () => {
  const clock = createManualClock();
  let directory: WritableDirectory;
  beforeEach(() => {
    directory = createEndpointDirectory();
    directory.setModels([MODEL]);
  });

  test('shows what was put, per workload, until it is removed', () => {
    directory.put(anEndpoint());
    directory.put(anEndpoint({ instance: instanceId(CHAT, 1), state: 'draining' }));
    directory.put(
      anEndpoint({
        instance: instanceId(workloadName('other'), 0),
        workload: workloadName('other'),
      }),
    );
    expect(directory.models()).toEqual([MODEL]);
    expect(directory.endpoints(CHAT).map(({ instance }) => instance)).toEqual(['chat-0', 'chat-1']);
    directory.put(anEndpoint({ state: 'draining' }));
    expect(directory.endpoints(CHAT).map(({ state }) => state)).toEqual(['draining', 'draining']);
    directory.remove(instanceId(CHAT, 0));
    expect(directory.endpoints(CHAT).map(({ instance }) => instance)).toEqual(['chat-1']);
  });

  test('tells of each change once, until told to stop; removing nothing is no change', () => {
    let changes = 0;
    const unsubscribe = directory.subscribe(() => {
      changes += 1;
    });
    directory.put(anEndpoint());
    directory.remove(instanceId(CHAT, 0));
    directory.remove(instanceId(CHAT, 0));
    directory.setModels([]);
    expect(changes).toBe(3);
    unsubscribe();
    directory.put(anEndpoint());
    expect(changes).toBe(3);
  });

  test('a request for a model that is ready is answered at once', async () => {
    directory.put(anEndpoint());
    await directory.request(CHAT);
  });

  test('a request waits for a ready endpoint; a draining one is none', async () => {
    const waiting = directory.request(CHAT);
    directory.put(anEndpoint({ state: 'draining' }));
    expect(await hasSettled(clock, waiting)).toBe(false);
    directory.put(anEndpoint());
    await waiting;
  });

  test.each([
    ['an abort while waiting', false],
    ['a signal that was aborted before', true],
  ])('%s ends the wait with ERR_MODEL_UNAVAILABLE', async (_, before) => {
    const controller = new AbortController();
    if (before) controller.abort();
    const waiting = directory.request(CHAT, { signal: controller.signal });
    controller.abort();
    await expect(waiting).rejects.toMatchObject({
      code: 'ERR_MODEL_UNAVAILABLE',
      kind: 'unavailable',
      retryAfterMs: undefined,
    });
  });

  test('the refusal says when to come back, where that is known', async () => {
    const knowing = createEndpointDirectory({ expectedReadyMs: () => 12_000 });
    await expect(knowing.request(CHAT)).rejects.toMatchObject({ retryAfterMs: 12_000 });
  });

  test('a model that goes away while it is waited for is unavailable', async () => {
    const waiting = directory.request(CHAT);
    directory.setModels([]);
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_MODEL_UNAVAILABLE' });
  });
});
