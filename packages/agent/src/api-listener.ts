/**
 * The agent's API as a listener for node's HTTP servers. Owns when the routes are loaded: at the first request, since an
 * agent that comes back has engines to take over first and may not be asked for hours. Answers nothing by itself.
 */
import type { RequestListener } from 'node:http';
import type { ApiOptions } from './api.js';

/** Input of {@link createApiListener}. */
export interface ApiListenerOptions extends ApiOptions {
  /** Answers before any route does: a refusal; null lets the request through. */
  readonly refuse?: (request: Request) => Response | null;
}

/** Makes a listener. */
export function createApiListener(options: ApiListenerOptions): RequestListener {
  let listener: Promise<RequestListener> | null = null;
  const load = async (): Promise<RequestListener> => {
    const [{ createApi }, { getRequestListener }] = await Promise.all([
      import('./api.js'),
      import('@hono/node-server'),
    ]);
    const app = createApi(options);
    return getRequestListener((request) => options.refuse?.(request) ?? app.fetch(request));
  };
  return (request, response) => {
    listener ??= load();
    listener.then(
      (answer) => answer(request, response),
      // Only a broken installation comes here: the caller gets an end instead of silence.
      (error: unknown) => {
        options.logger.error('api-not-loaded', { message: String(error) });
        response.destroy();
      },
    );
  };
}
