/**
 * Keeps one node as the fleet file says: plans, applies, repairs, and answers on a control socket.
 *
 * @packageDocumentation
 */
export type {
  Agent,
  AgentOptions,
  AppliedFleet,
  ApplyFleetOptions,
  ApplyOptions,
  CloseOptions,
  ControlHooks,
} from './agent.js';
export { apiDocument } from './api-document.js';
export { type ServeApiOptions, type ServedApi, serveApi } from './api-server.js';
export type { ApplyDiff, InstanceChange } from './apply-diff.js';
export {
  type ApplyCall,
  type ControlClient,
  type ControlClientOptions,
  createControlClient,
  type EventRange,
  isListening,
} from './control-client.js';
export { type ServeControlOptions, serveControl } from './control-server.js';
export type { ControlTarget } from './control-target.js';
export { readDesiredFleet } from './desired.js';
export { detectHost } from './detect-host.js';
export { readStoredEvents } from './event-journal.js';
export type { AgentEvent, EventLog } from './event-log.js';
export type { LayoutProgress } from './layouts.js';
export { createAgent } from './node-agent.js';
export {
  type Demands,
  type ModelSource,
  type PlanSources,
  planFromFleet,
  sizeFleet,
} from './plan-from-fleet.js';
export { refuseUnplaced } from './refusals.js';
export type { RunnerTiming } from './runner-timing.js';
export type { SettingChange } from './setting-changes.js';
export type {
  AgentState,
  CardStatus,
  Degradation,
  InstanceState,
  InstanceStatus,
  PartitionStatus,
  StatusDocument,
} from './status.js';
