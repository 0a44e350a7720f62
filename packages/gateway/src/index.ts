/**
 * An OpenAI-compatible proxy that admits requests by band, tenant and SLO.
 *
 * @packageDocumentation
 */
export type { AccessLog, AccessRecord } from './access-log.js';
export type { BandTimeoutChanges, BandTimeouts } from './band-timeouts.js';
export type { BodyBounds } from './body-budget.js';
export type { SampleEngine } from './engine-scrape.js';
export { createGateway } from './gateway.js';
export type { Gateway, GatewayOptions } from './gateway-options.js';
export type { RequestLimits } from './incoming.js';
export type { KeyRing } from './key-ring.js';
export {
  createLiveTenants,
  type KeyView,
  type LiveTenants,
  type LiveTenantsOptions,
  type PreparedTenants,
  type TenantAdmin,
  type TenantView,
} from './tenant-changes.js';
export type { KeyOptions } from './tenant-keys.js';
export { type ResolvedTenants, resolveTenants } from './tenants.js';
export type { TlsFiles } from './tls-files.js';
