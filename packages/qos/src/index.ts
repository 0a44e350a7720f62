/**
 * Admits requests by band, tenant and SLO: fair queues, rate limits, shedding and preemption.
 *
 * @packageDocumentation
 */
export {};
