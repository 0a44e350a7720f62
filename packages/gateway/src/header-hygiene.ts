/**
 * Which headers pass between clients and engines. Owns both lists; a header that is on neither stays here.
 */
import type { IncomingHttpHeaders } from 'node:http';

const FORWARDED: ReadonlySet<string> = new Set([
  'accept',
  'content-type',
  'user-agent',
  'tracestate',
]);
/**
 * What tells how to read an answer, and what OpenAI's clients read of its making (`openai-*` besides). All else of an
 * engine's stays here: clients and proxies in front would take it for the gateway's word. `location` tells inner
 * addresses, `set-cookie` and `access-control-*` open browsers, `x-ratelimit-*`, `x-should-retry` and `retry-after`
 * are the gateway's to say, `x-accel-*` steers proxies.
 */
const RETURNED: ReadonlySet<string> = new Set([
  'content-type',
  'content-encoding',
  'content-language',
  'content-disposition',
]);
// A value with others would be refused by Node, and with it the whole answer.
const PLAIN = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Headers that mean something to an engine, names and values in turn. Authorization and cookies stay here. */
export function forwardedHeaders(headers: IncomingHttpHeaders): string[] {
  const kept: string[] = [];
  for (const name in headers) {
    const value = headers[name];
    if (typeof value !== 'string') continue;
    if (FORWARDED.has(name) || name.startsWith('openai-') || name.startsWith('x-stainless-'))
      kept.push(name, value);
  }
  return kept;
}

/** An engine's headers as a client may see them, names and values in turn. */
export function returnedHeaders(headers: IncomingHttpHeaders): string[] {
  const kept: string[] = [];
  for (const name in headers) {
    if (!RETURNED.has(name) && !name.startsWith('openai-')) continue;
    const value = headers[name];
    if (typeof value === 'string') {
      if (PLAIN.test(value)) kept.push(name, value);
    } else {
      for (const each of value ?? []) if (PLAIN.test(each)) kept.push(name, each);
    }
  }
  return kept;
}
