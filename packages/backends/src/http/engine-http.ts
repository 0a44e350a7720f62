/**
 * Small questions to an engine's HTTP server: health and metrics. Owns time limits and the meaning of failures; the
 * requests of clients never go this way.
 */
import { AimError, type CallOptions, type EndpointAddress, isAbort } from '@aim-gpu/core';
import { request } from 'undici';

/** An engine under load answers its health check late, but a dead one should be noticed soon. */
const ANSWER_LIMIT_MS = 5000;
/** The largest scrape seen from vLLM with many buckets is below 1 MB. */
const MAX_BODY_BYTES = 8 * 2 ** 20;

/** Whether GET `path` answers 200 now. Throws only when `options.signal` aborts. */
export async function answersOk(
  endpoint: EndpointAddress,
  path: string,
  options: CallOptions = {},
): Promise<boolean> {
  options.signal?.throwIfAborted();
  try {
    const response = await get(endpoint, path, options);
    await response.body.dump();
    return response.statusCode === 200;
  } catch (error) {
    if (isAbort(error, options.signal)) throw error;
    return false;
  }
}

/** The body of GET `path`. Throws `ERR_ENGINE_UNREACHABLE` (unavailable) for anything but a 200 in time. */
export async function readText(
  endpoint: EndpointAddress,
  path: string,
  options: CallOptions = {},
): Promise<string> {
  options.signal?.throwIfAborted();
  try {
    const response = await get(endpoint, path, options);
    if (response.statusCode !== 200) {
      await response.body.dump();
      throw new Error(`status ${response.statusCode}`);
    }
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_BODY_BYTES) throw new Error(`more than ${MAX_BODY_BYTES} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  } catch (error) {
    if (isAbort(error, options.signal)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new AimError({
      code: 'ERR_ENGINE_UNREACHABLE',
      kind: 'unavailable',
      message: `the engine at ${endpoint.host}:${endpoint.port} did not answer ${path}: ${reason}`,
      details: { host: endpoint.host, port: endpoint.port, path },
      cause: error,
    });
  }
}

function get(endpoint: EndpointAddress, path: string, options: CallOptions) {
  const host = endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host;
  return request(`http://${host}:${endpoint.port}${path}`, {
    headersTimeout: ANSWER_LIMIT_MS,
    bodyTimeout: ANSWER_LIMIT_MS,
    // llama-server closes kept connections without saying so; a fresh one costs little here.
    reset: true,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
}
