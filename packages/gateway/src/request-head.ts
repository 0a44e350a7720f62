/**
 * Heads of requests that Node's parser takes and that others on the way might read as something else. Owns what is
 * refused of them; costs nothing but a look at the names.
 */
import type { IncomingMessage } from 'node:http';

/** What is wrong with a head; null for one that means one thing only. */
export function faultOfHead({
  rawHeaders,
  headers,
}: Pick<IncomingMessage, 'rawHeaders' | 'headers'>): string | null {
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index];
    // RFC 9112, section 3.2: one host, or 400. Node keeps the first and says nothing.
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts += 1;
  }
  if (hosts > 1) return 'the request has more than one host';
  const coding = headers['transfer-encoding'];
  // RFC 9112, section 6.1: a coding that is not known is refused; `identity` is none any more.
  return coding === undefined || coding.toLowerCase() === 'chunked'
    ? null
    : 'the transfer-encoding must be chunked';
}
