/**
 * Doubles and builders for tests of anything built on the ports of core.
 * @packageDocumentation
 */
export { createManualClock, type ManualClock } from './manual-clock.js';
