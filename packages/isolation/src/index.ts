/**
 * Turns a placement into launch limits, and says and checks how hard each limit is.
 *
 * @packageDocumentation
 */
export { assertShares, type ShareViolation } from './assert-shares.js';
export { BARE_HOST, type HostCapabilities } from './host-capabilities.js';
export {
  type CuRange,
  explainEnvelope,
  type PlanEnvelopeOptions,
  planEnvelope,
} from './plan-envelope.js';
