/**
 * The OpenAPI document of the agent's API, for whoever generates a client. Loads the routes when it is asked for.
 */

/** Makes the document, as `GET /openapi.json` answers it. */
export async function apiDocument(): Promise<Record<string, unknown>> {
  const { describeApi } = await import('./api.js');
  return describeApi();
}
