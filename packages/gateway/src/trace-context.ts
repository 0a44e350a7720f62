/**
 * W3C trace context: the caller's trace goes on through the gateway, or begins here. Owns the form of `traceparent`;
 * records no spans.
 */
import { createHash } from 'node:crypto';

/** The gateway's own place in a trace. */
export interface TraceContext {
  /** For the engine: the caller's trace with the gateway as parent. */
  readonly traceparent: string;
  readonly traceId: string;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const HEX = /^[0-9a-f]{32}$/;
const NO_TRACE = '0'.repeat(32);
const NO_SPAN = '0'.repeat(16);

/**
 * Continues the trace of a header. A header that is none (or of version ff, or all zeros) begins a new trace whose id
 * is the request's, so that an engine's records are found by `x-request-id`; nobody asked to record it, hence 00.
 */
export function continueTrace(header: string | undefined, requestId: string): TraceContext {
  const id = HEX.test(requestId) ? requestId : digest(requestId);
  const match = header === undefined ? null : TRACEPARENT.exec(header);
  const span = spanOf(id);
  if (match !== null) {
    const [, version, traceId = '', parent, flags, more] = match;
    // Version 00 has exactly four fields; a later one may have more, which we do not know and drop.
    const isWhole = version !== 'ff' && (version !== '00' || more === undefined);
    if (isWhole && traceId !== NO_TRACE && parent !== NO_SPAN)
      return { traceId, traceparent: `00-${traceId}-${span}-${flags}` };
  }
  return { traceId: id, traceparent: `00-${id}-${span}-00` };
}

/** The gateway's span: the request's id in half, so that nothing more has to be drawn. */
function spanOf(id: string): string {
  const span = id.slice(16);
  return span === NO_SPAN ? '0000000000000001' : span;
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
