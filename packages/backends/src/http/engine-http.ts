/**
 * Small questions to an engine's HTTP server: health and metrics. Owns time limits and the meaning of failures; the
 * requests of clients never go this way. Every engine of a node is asked for as long as it serves, so a question has to
 * be cheap: Node's own client takes less than half of a fetching one's processor time for a connection of its own.
 */
import { request } from 'node:http';
import { AimError, type CallOptions, type EndpointAddress, isAbort } from '@aim-gpu/core';

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
    return (await get(endpoint, path, options)).status === 200;
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
    const { status, body } = await get(endpoint, path, options);
    if (status !== 200) throw new Error(`status ${status}`);
    return body.toString('utf8');
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

interface Answer {
  readonly status: number | undefined;
  readonly body: Buffer;
}

function get(
  { host, port }: EndpointAddress,
  path: string,
  { signal }: CallOptions,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({
      host,
      port,
      path,
      // llama-server closes kept connections without saying so; a fresh one costs little here.
      agent: false,
      timeout: ANSWER_LIMIT_MS,
      ...(signal === undefined ? {} : { signal }),
    });
    const fail = (error: Error): void => reject(signal?.aborted === true ? signal.reason : error);
    asked.on('error', fail);
    asked.on('timeout', () => asked.destroy(new Error(`silent for ${ANSWER_LIMIT_MS} ms`)));
    asked.on('response', (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_BODY_BYTES) {
          response.destroy(new Error(`more than ${MAX_BODY_BYTES} bytes`));
        } else chunks.push(chunk);
      });
      response.on('error', fail);
      response.on('end', () =>
        resolve({ status: response.statusCode, body: Buffer.concat(chunks) }),
      );
    });
    asked.end();
  });
}
