/**
 * Reads a fleet file: YAML to typed, defaulted values, with the place of every error.
 *
 * @packageDocumentation
 */
export type { FleetIssue } from './issue.js';
export { fleetJsonSchema } from './json-schema.js';
export { type MissingKey, missingKeys } from './missing-keys.js';
export { nearestMatch } from './nearest.js';
export { type ParsedFleet, type ParseFleetOptions, parseFleet } from './parse.js';
export { type ReadFleetOptions, readFleetFile } from './read-file.js';
export type {
  CardShape,
  FleetDocument,
  FleetShape,
  GatewayShape,
  KeyShape,
  LimitsShape,
  ModelShape,
  NodeShape,
  PlacementShape,
  QuotaShape,
  SloShape,
  TenantShape,
  TimeoutsShape,
} from './shape.js';
export { SLO_PRESETS, type SloPreset } from './slo-presets.js';
export { toFleetDocument } from './to-document.js';
