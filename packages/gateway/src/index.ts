/**
 * An OpenAI-compatible proxy that admits requests by band, tenant and SLO.
 *
 * @packageDocumentation
 */
export {};
