import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createLlamaCppEngine, createSglangEngine, createVllmEngine } from '@aim-gpu/backends';
import { AimError, type EndpointAddress } from '@aim-gpu/core';
import { afterEach, describe, expect, it } from 'vitest';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(listener: RequestListener): Promise<EndpointAddress> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

async function closedPort(): Promise<EndpointAddress> {
  const address = await serve(() => undefined);
  await new Promise((resolve) => servers.pop()?.close(resolve));
  return address;
}

describe.each([createVllmEngine(), createSglangEngine(), createLlamaCppEngine()])(
  '$name',
  (engine) => {
    it('is ready when /health answers 200, and not before', async () => {
      let status = 503;
      const endpoint = await serve((request, response) => {
        response.writeHead(request.url === '/health' ? status : 404).end();
      });
      expect(await engine.isReady(endpoint)).toBe(false);
      status = 200;
      expect(await engine.isReady(endpoint)).toBe(true);
    });

    it('is not ready when nothing listens or the connection breaks', async () => {
      expect(await engine.isReady(await closedPort())).toBe(false);
      const rude = await serve((request) => request.socket.destroy());
      expect(await engine.isReady(rude)).toBe(false);
    });

    it.each([
      ['nothing listens', null],
      ['it answers an error', 500],
    ])('cannot be sampled when %s', async (_, status) => {
      const endpoint =
        status === null
          ? await closedPort()
          : await serve((__, response) => void response.writeHead(status).end());
      await expect(engine.sample(endpoint)).rejects.toSatisfy((error) =>
        AimError.is(error, 'ERR_ENGINE_UNREACHABLE'),
      );
    });

    it('passes an abort on', async () => {
      const silent = await serve(() => undefined);
      const controller = new AbortController();
      const ready = engine.isReady(silent, { signal: controller.signal });
      const sample = engine.sample(silent, { signal: controller.signal });
      controller.abort();
      await expect(ready).rejects.toMatchObject({ name: 'AbortError' });
      await expect(sample).rejects.toMatchObject({ name: 'AbortError' });
    });

    it('passes on why it was ended, also in the middle of an answer', async () => {
      const slow = await serve((_, response) => void response.write('half'));
      const reason = new Error('somebody has no time');
      const controller = new AbortController();
      const ready = engine.isReady(slow, { signal: controller.signal });
      const sample = engine.sample(slow, { signal: controller.signal });
      setTimeout(() => controller.abort(reason), 50);
      await expect(ready).rejects.toBe(reason);
      await expect(sample).rejects.toBe(reason);
    });

    it('reads no more than 8 MiB', async () => {
      const endless = await serve((_, response) => {
        response.on('error', () => undefined);
        const more = (): void => {
          while (!response.destroyed && response.write('#'.repeat(2 ** 16)));
        };
        response.on('drain', more);
        more();
      });
      await expect(engine.sample(endless)).rejects.toMatchObject({
        message: expect.stringContaining('more than 8388608 bytes') as string,
      });
      expect(await engine.isReady(endless)).toBe(false);
    });

    it('samples what the server exposes', async () => {
      const prefix =
        { vllm: 'vllm:num_requests_running', sglang: 'sglang:num_running_reqs' }[engine.name] ??
        'llamacpp:requests_processing';
      const endpoint = await serve((request, response) => {
        response.end(request.url === '/metrics' ? `${prefix} 5\n` : '');
      });
      expect(await engine.sample(endpoint)).toMatchObject({ running: 5, waiting: 0 });
    });
  },
);
